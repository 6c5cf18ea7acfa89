//! A whole talk as one stereo recording: the caller on the left, the avatar on the right, each where it stands on the time line.
//!
//! Mixed as it is sent: in memory are a second of the mix and, of each recording that sounds just then, about a second and a half.

use std::io::Write;
use std::sync::Arc;

use audio::ogg::{OggError, OggOpusReader, StereoOggOpusWriter};
use tokio::sync::OwnedSemaphorePermit;

use super::History;
use super::read::{StoredConversation, StoredSide};
use crate::data_folder::Stored;

/// Samples a millisecond: 48 kHz.
const PER_MS: u64 = 48;
/// One second is mixed at a time.
const BLOCK: usize = 48_000;
/// A reply that was cut fades out over 10 ms.
const FADE: u64 = 480;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Left,
    Right,
}

/// A recording and where it stands in the mix, 48 kHz samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clip {
    file: String,
    channel: Channel,
    start: u64,
    /// Where it was cut, counted from its own beginning.
    cut: Option<u64>,
}

/// A talk that is to be mixed down.
pub struct Mixdown {
    history: Arc<History>,
    /// In the order in which they begin, the last first.
    clips: Vec<Clip>,
    length: u64,
    #[expect(dead_code, reason = "held for its drop")]
    permit: OwnedSemaphorePermit,
}

/// A recording that sounds.
struct Sounding {
    clip: Clip,
    reader: OggOpusReader<Stored>,
    /// Samples of it that have been mixed.
    mixed: u64,
}

impl History {
    /// What mixes a conversation down; `None` while as many as may are at it.
    pub fn mixdown(self: &Arc<Self>, conversation: &StoredConversation) -> Option<Mixdown> {
        let permit = Arc::clone(&self.exports).try_acquire_owned().ok()?;
        let samples = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(PER_MS);
        let clip = |side: &StoredSide, channel, played: Option<i64>| {
            let file = side.audio.clone()?;
            Some(Clip { file, channel, start: samples(side.starts_ms?), cut: played.map(samples) })
        };
        let mut clips: Vec<Clip> = conversation
            .turns
            .iter()
            .flat_map(|turn| {
                let user = turn.user.as_ref().and_then(|user| clip(user, Channel::Left, None));
                let reply = turn.assistant.as_ref().and_then(|reply| {
                    clip(reply, Channel::Right, turn.played_ms).or_else(|| {
                        // The better audio is of what was heard alone.
                        let file = turn.render.as_ref()?.audio.clone()?;
                        Some(Clip { file, channel: Channel::Right, start: samples(reply.starts_ms?), cut: None })
                    })
                });
                [user, reply].into_iter().flatten()
            })
            .collect();
        clips.sort_by_key(|clip| std::cmp::Reverse(clip.start));
        let length = samples(conversation.duration_ms);
        Some(Mixdown { history: Arc::clone(self), clips, length, permit })
    }
}

impl Mixdown {
    /// Writes the mix, one Ogg Opus file; takes about a hundredth of its length on one core. What cannot be read of the recordings
    /// is silence. For a thread that may block.
    pub fn write(mut self, out: impl Write) -> Result<(), OggError> {
        let mut writer = StereoOggOpusWriter::new(out)?;
        let (mut left, mut right) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
        let mut sounding: Vec<Sounding> = Vec::new();
        let mut at = 0;
        while at < self.length {
            let block = usize::try_from(self.length - at).unwrap_or(BLOCK).min(BLOCK);
            left.fill(0.0);
            right.fill(0.0);
            while let Some(clip) = self.clips.pop_if(|clip| clip.start < at + block as u64) {
                let stored = self.history.open_audio(&clip.file);
                match stored.map_err(OggError::from).and_then(OggOpusReader::new) {
                    Ok(reader) => sounding.push(Sounding { clip, reader, mixed: 0 }),
                    Err(error) => tracing::warn!(file = clip.file, %error, "a recording is left out of a mix"),
                }
            }
            sounding.retain_mut(|one| {
                let channel = match one.clip.channel {
                    Channel::Left => &mut left,
                    Channel::Right => &mut right,
                };
                let from = usize::try_from(one.clip.start.saturating_sub(at)).unwrap_or(0);
                one.mix(channel.get_mut(from..block).unwrap_or_default())
            });
            writer.push(left.get(..block).unwrap_or_default(), right.get(..block).unwrap_or_default())?;
            at += block as u64;
        }
        writer.finish()?;
        Ok(())
    }
}

impl Sounding {
    /// Adds what comes next of it; says whether there is more.
    fn mix(&mut self, out: &mut [f32]) -> bool {
        let rest = self.clip.cut.map_or(u64::MAX, |cut| cut.saturating_sub(self.mixed));
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(out.len());
        let mut samples = vec![0.0; wanted];
        let got = match self.reader.read(&mut samples) {
            Ok(got) => got,
            Err(error) => {
                tracing::warn!(file = self.clip.file, %error, "a recording is damaged and ends early in a mix");
                return false;
            }
        };
        for (n, (out, sample)) in out.iter_mut().zip(samples.iter().take(got)).enumerate() {
            let left = self.clip.cut.map_or(FADE, |cut| cut.saturating_sub(self.mixed + n as u64).min(FADE));
            *out = (*out + sample * (left as f32 / FADE as f32)).clamp(-1.0, 1.0);
        }
        self.mixed += got as u64;
        got == out.len()
    }
}
