//! `keys`: the ring and the published key set, in files or in AWS, by the same rules as the rotation Lambda.

pub(super) mod files;
mod overview;
mod plan;
mod policy;
mod stores;

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};
use token_issuance::SourceError;
use token_issuance::rotation::{RotationError, Step, WithdrawalReport};
use token_jose::{Algorithm, KeyRing, KeySet, Kid, RingPolicy, Withdrawal};

use super::inspect::relative;
use super::{Ending, Failure, Report, Shell};
use overview::Overview;
use policy::PolicyArgs;
use stores::{RingStores, StoreArgs};

/// Make, publish, rotate and withdraw signing keys; plan a rotation
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a first ring: per algorithm one key that signs now and one standby, and publish both
    ///
    /// Nothing is written over: a ring that exists is refused.
    #[command(
        after_help = "Example:\n  jwt-operator keys new --ring keys/ring.json --jwks keys/jwks.json --algorithm RS256,ES256"
    )]
    New(NewArgs),
    /// Show the keys of a ring and what verifiers see of them
    List(StoreArgs),
    /// Write the published key set of a ring: what the rotation would have left
    Publish(StoreArgs),
    /// Rotate: promote the standby that has long been public, and publish a new one
    ///
    /// The four steps of the rotation Lambda. A run that was killed is finished by the next one. Nothing is done while a
    /// promoted key still waits for its time.
    Rotate(StoreArgs),
    /// Withdraw a compromised key, or all: it never signs and is never published again
    Withdraw(WithdrawArgs),
    /// Print the time line of a key under a policy, or refuse the policy with the inequality that fails
    Plan(plan::Args),
}

/// Arguments of `keys new`.
#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    #[command(flatten)]
    stores: StoreArgs,
    /// Algorithms, the default first: RS256, PS256, ES256, ES384, EdDSA
    #[arg(long = "algorithm", value_name = "ALG", value_delimiter = ',', default_value = "RS256")]
    algorithms: Vec<Algorithm>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Arguments of `keys withdraw`.
#[derive(Debug, clap::Args)]
pub(super) struct WithdrawArgs {
    /// The key, as verifiers see it in the token's header and in the key set; or all
    #[arg(value_name = "KID|all")]
    what: String,
    #[command(flatten)]
    stores: StoreArgs,
}

/// How often a withdrawal that lost to a rotation is done again from the start.
const ATTEMPTS: usize = 3;

pub(super) async fn run(command: &Command, shell: &Shell<'_>) -> Result<Report, Failure> {
    match command {
        Command::New(args) => new(args, shell).await,
        Command::List(args) => {
            let stores = args.open(shell).await?;
            let (version, ring) = stores.current().await?.ok_or_else(no_ring)?;
            let overview = Overview::of(&version, &ring, &stores.key_set().await?, shell.clock.now());
            Ok(overview.report(&stores, None))
        }
        Command::Publish(args) => publish(args, shell).await,
        Command::Rotate(args) => rotate(args, shell).await,
        Command::Withdraw(args) => withdraw(args, shell).await,
        Command::Plan(args) => plan::run(args, shell).await,
    }
}

async fn new(args: &NewArgs, shell: &Shell<'_>) -> Result<Report, Failure> {
    let policy = args.policy.safe()?;
    let stores = args.stores.open(shell).await?;
    if let Some((version, _)) = stores.current().await? {
        return Err(Failure::data(format!(
            "expected no ring in {}, found version {version}; hint: `keys rotate` makes the next one, `keys withdraw all` makes fresh keys",
            stores.ring_name()
        )));
    }
    let what = match steps(&stores, None, &args.algorithms, policy, shell).await? {
        Rotated::ByUs => "a first ring is made and published",
        Rotated::ByAnother => "another run made a first ring meanwhile",
    };
    after(&stores, what, shell).await
}

async fn rotate(args: &StoreArgs, shell: &Shell<'_>) -> Result<Report, Failure> {
    let stores = args.open(shell).await?;
    let now = shell.clock.now();
    let (version, ring) = stores.current().await?.ok_or_else(no_ring)?;
    if !stores.is_rotating().await? && ring.standbys_due(now).is_empty() {
        return after(&stores, "nothing is due: a promoted key still waits for its time", shell).await;
    }
    let what = match steps(&stores, Some(&version), &ring.algorithms(), *ring.policy(), shell).await? {
        Rotated::ByUs => "the next ring is current",
        Rotated::ByAnother => "another run made the next ring current meanwhile",
    };
    after(&stores, what, shell).await
}

/// Who made the ring that is current now.
enum Rotated {
    ByUs,
    ByAnother,
}

async fn steps(
    stores: &RingStores,
    current: Option<&str>,
    algorithms: &[Algorithm],
    policy: RingPolicy,
    shell: &Shell<'_>,
) -> Result<Rotated, Failure> {
    let begun = stores.rotation(current, algorithms, policy, &shell.ids.next_id()).await?;
    let Some((rotation, token)) = begun else { return Ok(Rotated::ByAnother) };
    for step in [Step::Create, Step::Set, Step::Test, Step::Finish] {
        rotation.run(step, &token, shell.clock.now()).await.map_err(|error| failed(&error))?;
    }
    Ok(Rotated::ByUs)
}

async fn publish(args: &StoreArgs, shell: &Shell<'_>) -> Result<Report, Failure> {
    let stores = args.open(shell).await?;
    let now = shell.clock.now();
    let (_, ring) = stores.current().await?.ok_or_else(no_ring)?;
    let stored = stores.key_set().await?;
    ring.permitted_by(&stored).map_err(Failure::data)?;
    let wanted = ring.republished(&stored, now);
    if wanted == stored {
        return after(&stores, "the key set already is what the ring publishes", shell).await;
    }
    stores.write_key_set(&wanted).await?;
    if stores.key_set().await? != wanted {
        return Err(failed(&RotationError::NotReadBack));
    }
    after(&stores, "the key set is written", shell).await
}

async fn withdraw(args: &WithdrawArgs, shell: &Shell<'_>) -> Result<Report, Failure> {
    let what = match args.what.as_str() {
        "all" => Withdrawal::All,
        kid => Withdrawal::Key(kid.parse::<Kid>().map_err(|_| {
            Failure::usage(format!(
                "expected a kid (43 characters of base64url) or all, found {}; hint: the kid is in the token's header and in the key set",
                crate::file::quoted(kid)
            ))
        })?),
    };
    let stores = args.stores.open(shell).await?;
    let (_, ring) = stores.current().await?.ok_or_else(no_ring)?;
    let rotation = stores.withdrawal(&ring.algorithms(), *ring.policy()).await?;
    let mut attempt = 1;
    let report = loop {
        let now = shell.clock.now();
        match rotation.withdraw(&what, &shell.ids.next_id(), now).await {
            Ok(report) => break report,
            Err(RotationError::Lost { .. } | RotationError::NotPending { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(failed(&error)),
        }
    };
    Ok(withdrawn(&report, shell.clock.now()))
}

fn withdrawn(report: &WithdrawalReport, now: Timestamp) -> Report {
    let at = |time: Option<Timestamp>| time.map_or(Value::Null, |time| time.to_string().into());
    let keys: Vec<Value> = report
        .keys
        .iter()
        .map(|key| {
            json!({
                "kid": key.kid.as_str(), "signed_from": at(key.signed_from), "signed_until": at(key.signed_until),
                "latest_exp": at(key.latest_exp),
            })
        })
        .collect();
    let json = json!({
        "keys": keys,
        "min_generation": report.min_generation,
        "issuers_follow_by": report.issuers_follow_by.to_string(),
        "forgeries_accepted_until": report.forgeries_accepted_until.to_string(),
        "refusals_until": at(report.refusals_until),
        "run_again_after": report.run_again_after.to_string(),
        "still_enabled": report.still_enabled.iter().map(Kid::as_str).collect::<Vec<_>>(),
    });
    let when = |time: Timestamp| {
        let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
        format!("{second} ({})", relative(time.duration_since(now).as_secs()))
    };
    let mut human = if report.keys.is_empty() {
        "withdrawn before; published again".to_owned()
    } else {
        let lines = report.keys.iter().map(|key| {
            let until =
                key.latest_exp.map_or("never signed".to_owned(), |exp| format!("its last token ends {}", when(exp)));
            format!("withdrawn: {} ({until})", key.kid)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    human.push_str(&format!("\nrings below generation {} are void", report.min_generation));
    human.push_str(&format!(
        "\nissuers that run follow by {}; restart them to be sooner",
        when(report.issuers_follow_by)
    ));
    human.push_str(&format!("\nverifiers may accept forgeries until {}", when(report.forgeries_accepted_until)));
    if let Some(until) = report.refusals_until {
        human.push_str(&format!("\nverifiers may refuse good tokens until {}", when(until)));
    }
    human.push_str(&format!(
        "\nif a rotation was under way, withdraw again after {}: one that stalled may have undone the publication",
        when(report.run_again_after)
    ));
    for kid in &report.still_enabled {
        human.push_str(&format!("\nSTILL ENABLED in its KMS: {kid}; disable it by hand"));
    }
    Report::yes(human, json)
}

/// How the stores stand after a change.
async fn after(stores: &RingStores, what: &str, shell: &Shell<'_>) -> Result<Report, Failure> {
    let (version, ring) = stores.current().await?.ok_or_else(no_ring)?;
    let overview = Overview::of(&version, &ring, &stores.key_set().await?, shell.clock.now());
    Ok(overview.report(stores, Some(what)))
}

fn no_ring() -> Failure {
    Failure::data("expected a ring, found none; hint: `keys new` makes the first one")
}

/// A store that is down may come back; a ring that is wrong does not mend itself.
pub(super) fn failed(error: &RotationError) -> Failure {
    match error {
        RotationError::Store(error) => store_failed(error),
        RotationError::Lost { .. } | RotationError::NotPending { .. } | RotationError::NotReadBack => {
            Failure::try_again(error)
        }
        _ => Failure::data(error),
    }
}

pub(super) fn store_failed(error: &SourceError) -> Failure {
    let ending = match error {
        SourceError::Unavailable { .. } | SourceError::Throttled { .. } => Ending::TryAgain,
        SourceError::Denied { .. } => Ending::CannotWrite,
        _ => Ending::Data,
    };
    Failure::new(ending, error)
}

fn parsed_ring(version: &str, value: &[u8]) -> Result<KeyRing, Failure> {
    KeyRing::parse(value).map_err(|error| Failure::data(format!("ring {version}: {error}")))
}

fn parsed_key_set(text: Option<String>) -> Result<KeySet, Failure> {
    match text {
        None => Ok(KeySet::default()),
        Some(text) => KeySet::parse(text.as_bytes()).map_err(|error| Failure::data(format!("key set: {error}"))),
    }
}
