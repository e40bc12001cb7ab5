//! What every `main` of this project needs, and nothing of what it is for: a clock, ids, configuration that reports all
//! problems at once, a JSON log and CloudWatch metrics on standard output.
//!
//! This crate alone reads the wall clock, draws random ids and looks at the environment; everything below takes `now`,
//! ids and settings as parameters.
//!
//! ```
//! use token_shell::{MapVars, Problems, Settings};
//! let vars = MapVars::from([("PORT", "eighty")]);
//! let mut problems = Problems::default();
//! let mut settings = Settings::new(&vars, &mut problems);
//! let port = settings.parsed("PORT", "a port number", 8080_u16);
//! let name = settings.required("NAME", "the service's name");
//! assert_eq!((port, name), (None, None));
//! assert_eq!(
//!     problems.to_string(),
//!     "1. PORT: expected a port number, found \"eighty\"\n2. NAME: expected the service's name, found nothing; hint: set NAME"
//! );
//! ```

mod config;
mod emf;
mod ids;
mod log;
mod time;

pub use config::{MapVars, Problems, ProcessVars, Settings, Vars};
pub use emf::{MetricRecord, Unit};
pub use ids::{IdSource, OsIds};
pub use log::{ExtraLayer, LogLevel, start_json_log, start_json_log_with};
pub use time::{Clock, SystemClock};

/// Exit code of a process whose configuration is wrong (BSD `sysexits`: `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
