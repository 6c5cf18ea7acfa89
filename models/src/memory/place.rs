//! The places that engines compute in, as the configuration names them, and how each is opened.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::error::EngineError;

/// Cards beyond this number are a typing error.
const MOST_CARDS: usize = 64;

/// Where an engine's weights lie and its arithmetic is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Place {
    #[default]
    Cpu,
    /// An NVIDIA card, counted as CUDA counts them.
    Cuda(usize),
    /// The graphics part of an Apple processor.
    Metal,
    /// Any card with a Vulkan driver; Whisper alone can use it.
    Vulkan,
}

impl Place {
    /// Whether this build can compute there.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
        }
    }

    /// Candle's device there. [`EngineError::NotInstalled`] says why there is none.
    pub fn device(self) -> Result<Device, EngineError> {
        let (device, what) = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Cuda(number) => (Device::new_cuda(number), "CUDA"),
            Self::Metal => (Device::new_metal(0), "Metal"),
            Self::Vulkan => {
                let hint = "it serves Whisper alone; set engines.device to \"auto\" or \"cpu\"".to_owned();
                return Err(EngineError::NotInstalled { what: "Vulkan for this engine".to_owned(), hint });
            }
        };
        device.map_err(|error| {
            let hint = match self.is_built_in() {
                true => format!("the driver says: {}; see `avatar doctor`", first_line(&error.to_string())),
                false => {
                    format!("this build computes on the processor; build with the feature {}", what.to_lowercase())
                }
            };
            EngineError::NotInstalled { what: format!("{what} on {self}"), hint }
        })
    }
}

/// Drivers answer with a backtrace.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(number) => f.pad(&format!("cuda:{number}")),
            Self::Metal => f.pad("metal"),
            Self::Vulkan => f.pad("vulkan"),
        }
    }
}

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// The best place for each engine.
    #[default]
    Auto,
    /// There, as far as it fits; the processor else.
    At(Place),
}

impl Wanted {
    /// Whether engines may be placed there.
    pub fn allows(self, place: Place) -> bool {
        place == Place::Cpu || self == Self::Auto || self == Self::At(place)
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|number| *number < MOST_CARDS);
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::At(Place::Cpu)),
            "metal" => Ok(Self::At(Place::Metal)),
            "vulkan" => Ok(Self::At(Place::Vulkan)),
            "cuda" => Ok(Self::At(Place::Cuda(0))),
            _ => text.strip_prefix("cuda:").and_then(number).map(|number| Self::At(Place::Cuda(number))).ok_or_else(
                || {
                    format!(
                        "'{text}' is no device; the devices are auto, cpu, cuda:0 (or another number), metal, vulkan"
                    )
                },
            ),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for place in [Place::Cpu, Place::Cuda(0), Place::Cuda(3), Place::Metal, Place::Vulkan] {
            assert_eq!(place.to_string().parse(), Ok(Wanted::At(place)));
        }
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:99", "cuda:0 ", "CPU"] {
            assert!(wrong.parse::<Wanted>().unwrap_err().contains("cuda:0"), "{wrong}");
        }
    }

    #[test]
    fn a_card_that_is_not_there_says_so_instead_of_ending_the_server() {
        assert!(Place::Cpu.device().unwrap().is_cpu());
        let missing = Place::Cuda(63).device().unwrap_err();
        assert!(matches!(missing, EngineError::NotInstalled { .. }), "{missing}");
        assert!(missing.to_string().contains("cuda"), "{missing}");
        assert!(Place::Vulkan.device().is_err());
    }

    #[test]
    fn the_processor_is_always_allowed() {
        for wanted in [Wanted::Auto, Wanted::At(Place::Cuda(1))] {
            assert!(wanted.allows(Place::Cpu) && wanted.allows(Place::Cuda(1)));
        }
        assert!(!Wanted::At(Place::Cpu).allows(Place::Cuda(0)));
        assert!(!Wanted::At(Place::Cuda(1)).allows(Place::Cuda(0)));
    }
}
