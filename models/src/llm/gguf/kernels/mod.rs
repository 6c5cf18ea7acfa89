//! Arithmetic on the processor for the language model: products of packed weights with eight-bit activations, attention over
//! a past, and the small steps between, on a pool of threads.
//!
//! A kernel is written once (over [`lanes::Lanes`]) and compiled for each instruction set; which one runs is found out at run time.
//! What the processor has nothing for runs in plain Rust. Sizes are checked where a kernel is called; inside it nothing is.

#![allow(unsafe_code, reason = "a task is compiled for an instruction set")]

mod activations;
mod attention;
mod lanes;
mod memory;
mod packed;
mod past;
mod pointwise;
mod pool;
mod product;
mod source;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(super) use self::activations::Activations;
pub(super) use self::attention::{Queries, attend};
pub(super) use self::packed::Packed;
pub(super) use self::past::{Past, Precision};
pub(super) use self::pointwise::{Activation, rms_norm, rotate};
pub(super) use self::product::{Job, Operation, multiply};

/// An instruction set that this processor has. Only [`Isa::best`] and [`Isa::all`] make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// Work that is compiled for each instruction set.
trait Task {
    type Out;

    /// # Safety
    /// The processor has `L`.
    unsafe fn run<L: lanes::Lanes>(self) -> Self::Out;
}

impl Isa {
    /// The best of what this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().first().copied().unwrap_or(Self::Portable))
    }

    /// All that this processor has, the best first.
    #[cfg(target_arch = "x86_64")]
    pub fn all() -> Vec<Self> {
        use std::arch::is_x86_feature_detected as detected;
        let mut all = Vec::new();
        let has_avx2 = detected!("avx2") && detected!("fma") && detected!("f16c");
        let has_avx512 = detected!("avx512f") && detected!("avx512bw") && detected!("avx512vl");
        if has_avx2 && has_avx512 && detected!("avx512vnni") {
            all.push(Self::Avx512);
        }
        if has_avx2 && detected!("avxvnni") {
            all.push(Self::AvxVnni);
        }
        if has_avx2 {
            all.push(Self::Avx2);
        }
        all.push(Self::Portable);
        all
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn all() -> Vec<Self> {
        vec![Self::Portable]
    }

    /// Whether products of packed weights have kernels of their own: without, candle's are faster.
    pub fn has_products(self) -> bool {
        self != Self::Portable
    }

    fn most_rows(self) -> usize {
        use lanes::Lanes;
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Avx512::MOST_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => x86::AvxVnni::MOST_ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Avx2::MOST_ROWS,
            Self::Portable => lanes::Portable::MOST_ROWS,
        }
    }

    fn run<T: Task>(self, task: T) -> T::Out {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
        unsafe fn avx512<T: Task>(task: T) -> T::Out {
            // SAFETY: the features are those of `Avx512`.
            unsafe { task.run::<x86::Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2<T: Task>(task: T) -> T::Out {
            // SAFETY: the features are those of `Avx2`.
            unsafe { task.run::<x86::Avx2>() }
        }
        // SAFETY: an `Isa` is only made where the processor has it.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(task),
                // Tasks multiply no bytes: what VNNI adds makes no difference to them.
                #[cfg(target_arch = "x86_64")]
                Self::AvxVnni | Self::Avx2 => avx2(task),
                Self::Portable => task.run::<lanes::Portable>(),
            }
        }
    }
}
