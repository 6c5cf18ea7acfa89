//! How the machine's cores are shared between thinking and listening.
//!
//! candle's threads meet at a spinning barrier after each matrix. One that has lost its core to another thread holds up all of
//! them for a scheduler's slice, some hundred times a token: with as many threads as cores, the server's own listening brings the
//! language model to a crawl (measured: 75 tokens a second alone, 2 to 5 beside other work). So one core is left to the rest.

#![allow(unsafe_code, reason = "the environment is candle's only switch for this")]

use std::thread::available_parallelism;

/// candle's switches, in its order.
const SWITCHES: [&str; 2] = ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"];
/// Words are written one after the other: beyond so many threads the barrier costs more than it gains.
const MOST: usize = 8;

/// Leaves a core to listening, unless the user has decided otherwise. To be called first thing in `main`.
pub fn leave_one_to_listening() {
    if SWITCHES.iter().any(|switch| std::env::var_os(switch).is_some()) {
        return;
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = cores.saturating_sub(1).clamp(1, MOST);
    // SAFETY: `main` has just begun and no other thread exists that could read the environment meanwhile.
    unsafe { std::env::set_var(SWITCHES[0], threads.to_string()) };
}
