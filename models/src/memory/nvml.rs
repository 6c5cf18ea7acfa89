//! NVIDIA's management library (`libnvidia-ml.so.1`, part of the driver), opened at run time: the cards and their memory.
#![allow(unsafe_code, reason = "a binding")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

use libloading::{Library, Symbol};

use super::place::Place;
use super::plan::Card;

/// `NVML_DEVICE_NAME_V2_BUFFER_SIZE`.
const NAME_BYTES: usize = 96;
/// No machine has more; a driver that claims more is not believed.
const MOST_CARDS: c_uint = 64;

type Status = c_int;
type Device = *mut c_void;

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// Every card, or `None` where there is no driver or it does not answer.
pub(super) fn cards() -> Option<Vec<Card>> {
    // SAFETY: the driver's own library under its versioned name; loading it runs no code of ours.
    let library = unsafe { Library::new("libnvidia-ml.so.1") }.ok()?;
    // SAFETY: the signatures are those of `nvml.h`, stable since version 2 of each function. The symbols live as long as
    // `library`, which outlives every call here.
    unsafe {
        let start: Symbol<unsafe extern "C" fn() -> Status> = library.get(b"nvmlInit_v2\0").ok()?;
        let stop: Symbol<unsafe extern "C" fn() -> Status> = library.get(b"nvmlShutdown\0").ok()?;
        if start() != 0 {
            return None;
        }
        let found = all(&library);
        stop();
        found
    }
}

/// # Safety
/// `library` is NVML and was initialised.
unsafe fn all(library: &Library) -> Option<Vec<Card>> {
    // SAFETY: as in `cards`; each pointer is to a live local of the type that the function writes, and the name's length is given.
    unsafe {
        let count: Symbol<unsafe extern "C" fn(*mut c_uint) -> Status> =
            library.get(b"nvmlDeviceGetCount_v2\0").ok()?;
        let by_index: Symbol<unsafe extern "C" fn(c_uint, *mut Device) -> Status> =
            library.get(b"nvmlDeviceGetHandleByIndex_v2\0").ok()?;
        let name_of: Symbol<unsafe extern "C" fn(Device, *mut c_char, c_uint) -> Status> =
            library.get(b"nvmlDeviceGetName\0").ok()?;
        let memory_of: Symbol<unsafe extern "C" fn(Device, *mut Memory) -> Status> =
            library.get(b"nvmlDeviceGetMemoryInfo\0").ok()?;
        let mut cards = 0;
        if count(&raw mut cards) != 0 {
            return None;
        }
        let mut found = Vec::new();
        for index in 0..cards.min(MOST_CARDS) {
            let mut device: Device = std::ptr::null_mut();
            let mut memory = Memory::default();
            if by_index(index, &raw mut device) != 0 || memory_of(device, &raw mut memory) != 0 {
                continue;
            }
            let mut name: [c_char; NAME_BYTES] = [0; NAME_BYTES];
            let named = name_of(device, name.as_mut_ptr(), NAME_BYTES as c_uint - 1) == 0;
            // The last byte stays zero, so the text ends within the array.
            let name =
                if named { CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned() } else { "NVIDIA".to_owned() };
            found.push(Card { place: Place::Cuda(index as usize), name, total: memory.total, free: memory.free });
        }
        Some(found)
    }
}
