//! The scripts: one per decision. Called by the hash of their text, and loaded by the server that does not know them.

use redis::{Pipeline, Script};

const PRELUDE: &str = include_str!("lua/prelude.lua");

/// All scripts.
pub(crate) struct Scripts {
    pub(crate) open: Source,
    pub(crate) load: Source,
    pub(crate) refresh: Source,
    pub(crate) renew: Source,
    pub(crate) due: Source,
    pub(crate) standing: Source,
    pub(crate) check: Source,
    pub(crate) revoke: Source,
    pub(crate) revoke_user: Source,
    pub(crate) first_use: Source,
}

/// One script: its text and its hash.
pub(crate) struct Source {
    text: String,
    hash: String,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            open: Source::new(include_str!("lua/open.lua")),
            load: Source::new(include_str!("lua/load.lua")),
            refresh: Source::new(include_str!("lua/refresh.lua")),
            renew: Source::new(include_str!("lua/renew.lua")),
            due: Source::new(include_str!("lua/due.lua")),
            standing: Source::new(include_str!("lua/standing.lua")),
            check: Source::new(include_str!("lua/check.lua")),
            revoke: Source::new(include_str!("lua/revoke.lua")),
            revoke_user: Source::new(include_str!("lua/revoke_user.lua")),
            first_use: Source::new(include_str!("lua/first_use.lua")),
        }
    }
}

impl Source {
    fn new(body: &str) -> Self {
        let text = format!("{PRELUDE}\n{body}");
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Adds the call to a pipeline: by hash, or with the whole text, which the server then knows.
    pub(crate) fn call(&self, pipeline: &mut Pipeline, whole: bool, keys: &[String], args: &[Vec<u8>]) {
        if whole {
            pipeline.cmd("EVAL").arg(&self.text);
        } else {
            pipeline.cmd("EVALSHA").arg(&self.hash);
        }
        pipeline.arg(keys.len()).arg(keys).arg(args);
    }
}
