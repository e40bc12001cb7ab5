//! The gateway as a whole, with a sample function: a small client of the Runtime API that does what its events say.

// `cfg(test)`, which always holds here, tells clippy that these are tests.
#[cfg(test)]
mod client;
#[cfg(test)]
mod function;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod process;
#[cfg(test)]
mod sample;
