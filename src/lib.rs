//! Avatar puts the parts together: configuration, engines, doors, calls, history.

pub mod api;
pub mod call;
pub mod cli;
pub mod config;
pub mod cores;
pub mod data_folder;
pub mod engines;
pub mod guard;
pub mod history;
pub mod hq;
pub mod keys;
pub mod logging;
mod placing;
pub mod readiness;
pub mod service;
pub mod tls;
pub mod voices;
pub mod warm_up;
