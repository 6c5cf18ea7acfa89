//! How whisper.cpp is told where to compute.

use whisper_rs::WhisperContextParameters;

use crate::memory::Place;

/// The parameters of a context whose weights lie in `place`. The default would take the first card of whatever the build has.
pub(super) fn parameters(place: Place) -> WhisperContextParameters<'static> {
    let mut parameters = WhisperContextParameters::default();
    parameters.use_gpu(place != Place::Cpu);
    if let Place::Cuda(number) = place {
        parameters.gpu_device(i32::try_from(number).unwrap_or(0));
    }
    parameters
}
