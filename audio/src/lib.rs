//! Signal code: everything that touches samples between the network and the engines.
//!
//! Owns codec, jitter buffer, resampling, playout, level and audio containers. Knows no network, no async runtime and
//! no sibling crate; time is always an argument.
//!
//! The way in is [`inbound`] (jitter buffer, Opus, 16 kHz frames), the way out is [`outbound`] (playout queue, Opus) at
//! the beat of a [`pacer`].

pub mod frames;
pub mod inbound;
pub mod jitter;
pub mod level;
pub mod ogg;
pub mod opus;
pub mod outbound;
pub mod pacer;
pub mod pcm;
pub mod playout;
pub mod recording;
pub mod resample;
pub mod voice_sample;
pub mod wav;
