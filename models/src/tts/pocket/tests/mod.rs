//! The model against the reference package on the same small random weights, and against files that are not what they should be.
//!
//! `scripts/parity/pocket` wrote what is compared with.

#![allow(clippy::unwrap_used, reason = "tests")]

mod files;
mod parity;
mod speaking;

use std::path::PathBuf;

use super::config::Config;
use super::linear::Precision;
use super::model::{Model, Noise};
use super::random::{random_model, random_values};

pub(super) fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/pocket").join(name)
}

pub(super) fn small_config(name: &str) -> Config {
    let json = std::fs::read_to_string(recorded(&format!("{name}.json"))).unwrap();
    serde_json::from_str(&json).unwrap()
}

pub(super) fn small_model(name: &str) -> Model {
    random_model(small_config(name), Precision::Single).unwrap()
}

/// The standard normal stand-in that the script draws as its draw number `index`.
pub(super) fn unit_noise(index: usize, count: usize) -> Vec<f32> {
    random_values(&format!("noise.{index}"), count).into_iter().map(|value| value * 3.0_f32.sqrt()).collect()
}

pub(super) fn recorded_noise() -> Noise {
    let mut index = 0;
    Box::new(move |values| {
        values.copy_from_slice(&unit_noise(index, values.len()));
        index += 1;
    })
}
