//! Memory for weights: in a few large pieces that ask the system for large pages.
//!
//! A token reads all weights once, from end to end. In pages of 4 KiB that is a page-table walk and a stop of the processor's
//! looking ahead each 4 KiB, which on a machine that has been up for a while costs a third of the memory's speed. Matrices are too
//! small for large pages of their own, so they share pieces. A piece is given back when its last matrix is dropped.

#![allow(unsafe_code, reason = "parts of one mapping are lent out separately")]

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::MmapMut;

use super::packed::{LINE, Line};

/// Bytes of a piece; larger matrices have one of their own.
const PIECE: usize = 32 << 20;

struct Piece {
    start: *mut Line,
    /// Lines there are.
    length: usize,
    #[expect(dead_code, reason = "held for its drop, which unmaps the memory")]
    map: MmapMut,
}

// SAFETY: the memory stays where it is as long as the piece lives, and each line belongs to one `Lines` only.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

/// The piece that is being filled, and how many of its lines are taken.
static FILLING: Mutex<(Weak<Piece>, usize)> = Mutex::new((Weak::new(), 0));

/// Some lines of a piece.
pub(super) struct Lines {
    piece: Arc<Piece>,
    from: usize,
    length: usize,
}

impl Lines {
    /// Lines of zeros; `None` if the system has no more memory.
    pub fn zeroed(length: usize) -> Option<Self> {
        if length > PIECE / LINE / 2 {
            return Some(Self { piece: Arc::new(Piece::new(length)?), from: 0, length });
        }
        let mut filling = FILLING.lock().unwrap_or_else(PoisonError::into_inner);
        let open = filling.0.upgrade().filter(|piece| piece.length - filling.1 >= length);
        let piece = match open {
            Some(piece) => piece,
            None => {
                let piece = Arc::new(Piece::new(PIECE / LINE)?);
                *filling = (Arc::downgrade(&piece), 0);
                piece
            }
        };
        let from = filling.1;
        filling.1 += length;
        Some(Self { piece, from, length })
    }

    /// The lines, to be filled.
    pub fn fill(&mut self) -> &mut [Line] {
        // SAFETY: the lines lie inside the piece, and are this one's alone, which is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.piece.start.add(self.from), self.length) }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: as in `fill`; any bytes are lines.
        unsafe { std::slice::from_raw_parts(self.piece.start.add(self.from), self.length) }
    }
}

impl Piece {
    fn new(length: usize) -> Option<Self> {
        let mut map = MmapMut::map_anon(length.checked_mul(LINE)?).ok()?;
        // A wish: without large pages everything is right, only slower.
        #[cfg(target_os = "linux")]
        drop(map.advise(memmap2::Advice::HugePage));
        // A mapping begins at a page, so at a line.
        Some(Self { start: map.as_mut_ptr().cast(), length, map })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn matrices_of_one_piece_do_not_touch_each_other_and_outlive_one_another() {
        let mut all: Vec<Lines> = [3, 1, PIECE / LINE, 200, 0, 7].map(|length| Lines::zeroed(length).unwrap()).into();
        for (number, lines) in all.iter_mut().enumerate() {
            assert!(lines.fill().iter().all(|line| line.bytes() == [0; LINE]));
            lines.fill().fill(Line::of(number as u8 + 1));
        }
        all.remove(0);
        for (number, lines) in all.iter().enumerate() {
            assert!(lines.iter().all(|line| line.bytes() == [number as u8 + 2; LINE]));
        }
        assert_eq!(all.iter().map(|lines| lines.len()).collect::<Vec<_>>(), [1, PIECE / LINE, 200, 0, 7]);
    }
}
