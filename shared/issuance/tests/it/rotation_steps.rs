//! The order of reads and writes: what each step leaves behind, and what it refuses. Which key signs when is token-jose's;
//! every interleaving and crash is the simulation's.

use std::sync::Arc;

use jiff::Timestamp;
use token_issuance::SourceError;
use token_issuance::rotation::{
    CURRENT, KeyMaker, LocalKeyMaker, PENDING, PREVIOUS, Rotation, RotationError, RotationHealth, SecretVersions as _,
    Step, WithdrawalReport,
};
use token_jose::{
    Algorithm, KeyRing, KeySet, KeyVersion, Kid, LocalSigner, PrivateLocation, PublishedKey, RingError, RingPolicy,
    Withdrawal,
};
use token_testkit::{Fault, MemoryPublished, MemorySecret, at, interleave, run_to_end};

const ALGORITHM: Algorithm = Algorithm::EdDsa;
const STEPS: [Step; 4] = [Step::Create, Step::Set, Step::Test, Step::Finish];

struct Stand {
    secret: MemorySecret,
    published: MemoryPublished,
    rotation: Rotation,
}

impl Stand {
    fn new() -> Self {
        let secret = MemorySecret::new();
        let published = MemoryPublished::beside(&secret);
        let rotation = Rotation::new(
            Arc::new(secret.clone()),
            Arc::new(published.clone()),
            Arc::new(LocalKeyMaker),
            vec![ALGORITHM],
            RingPolicy::default(),
        );
        Self { secret, published, rotation }
    }

    /// After a first rotation, `v1`.
    fn rotated() -> Self {
        let stand = Self::new();
        stand.rotate("v1", start());
        stand
    }

    fn rotate(&self, token: &str, now: Timestamp) {
        self.secret.start_rotation(token).unwrap();
        for step in STEPS {
            self.run(step, token, now).unwrap();
        }
    }

    fn run(&self, step: Step, token: &str, now: Timestamp) -> Result<(), RotationError> {
        run_to_end(self.rotation.run(step, token, now))
    }

    fn withdraw(&self, withdrawal: &Withdrawal, token: &str) -> Result<WithdrawalReport, RotationError> {
        run_to_end(self.rotation.withdraw(withdrawal, token, later()))
    }

    fn ring(&self) -> KeyRing {
        let current = self.secret.version_with(CURRENT).unwrap();
        KeyRing::parse(&self.secret.value(&current).unwrap()).unwrap()
    }

    fn set(&self) -> KeySet {
        KeySet::parse(self.published.text().unwrap().as_bytes()).unwrap()
    }

    fn active(&self) -> Kid {
        self.ring().active(ALGORITHM, later()).unwrap().kid().clone()
    }
}

fn start() -> Timestamp {
    at("2026-11-22T00:00:00Z")
}

/// When the second rotation is due.
fn later() -> Timestamp {
    at("2026-12-22T00:00:00Z")
}

#[test]
fn a_guard_refuses_before_anything_is_changed() {
    let stand = Stand::rotated();
    let before = (format!("{:?}", stand.secret), stand.published.history().len());
    stand.secret.set_rotation_enabled(false);
    for step in STEPS {
        assert!(matches!(stand.run(step, "v1", later()), Err(RotationError::Setup(_))), "{step:?}: rotation is off");
    }
    stand.secret.set_rotation_enabled(true);
    for step in STEPS {
        assert!(matches!(stand.run(step, "v2", later()), Err(RotationError::Setup(_))), "{step:?}: no such version");
    }
    assert_eq!((format!("{:?}", stand.secret), stand.published.history().len()), before);
}

#[test]
fn a_version_that_is_no_longer_pending_is_left_alone() {
    let stand = Stand::rotated();
    stand.secret.operator_puts("v2", &stand.secret.value("v1").unwrap());
    run_to_end(stand.secret.drop_stage(PENDING, "v1")).unwrap();
    for step in STEPS {
        let refused = stand.run(step, "v1", later());
        assert!(matches!(refused, Err(RotationError::NotPending { .. })), "{step:?}: v1 is AWSPREVIOUS, {refused:?}");
    }
}

#[test]
fn steps_out_of_order_are_refused() {
    let stand = Stand::new();
    stand.secret.start_rotation("v1").unwrap();
    assert!(matches!(stand.run(Step::Set, "v1", start()), Err(RotationError::Setup(_))));
    assert!(matches!(stand.run(Step::Finish, "v1", start()), Err(RotationError::Setup(_))));
    stand.run(Step::Create, "v1", start()).unwrap();
    assert!(matches!(stand.run(Step::Test, "v1", start()), Err(RotationError::BadKey { .. })), "not published yet");
    assert!(matches!(stand.run(Step::Finish, "v1", start()), Err(RotationError::BadKey { .. })));
    assert_eq!(stand.published.text(), None);
}

/// **INV** a ring becomes current only in the place of the one it was derived from.
#[test]
fn a_ring_that_lost_its_place_is_given_up_and_never_published() {
    for step in [Step::Set, Step::Finish] {
        let stand = Stand::rotated();
        stand.secret.start_rotation("v2").unwrap();
        stand.run(Step::Create, "v2", later()).unwrap();
        if step == Step::Finish {
            stand.run(Step::Set, "v2", later()).unwrap();
        }
        let published = stand.published.history().len();
        stand.secret.operator_puts("v3", &stand.secret.value("v1").unwrap());
        let error = stand.run(step, "v2", later()).unwrap_err();
        assert!(
            matches!(&error, RotationError::Lost { expected, found } if expected == "v1" && found == "v3"),
            "{error:?}"
        );
        assert_eq!(stand.secret.version_with(PENDING), None, "the next rotation is not blocked");
        assert_eq!(stand.secret.version_with(CURRENT).as_deref(), Some("v3"));
        assert_eq!(stand.published.history().len(), published);
    }
}

#[test]
fn a_switch_whose_answer_was_lost_is_a_switch() {
    let stand = Stand::rotated();
    stand.secret.start_rotation("v2").unwrap();
    for step in &STEPS[..3] {
        stand.run(*step, "v2", later()).unwrap();
    }
    stand.secret.script().restart();
    run_to_end(stand.rotation.run(Step::Finish, "v2", later())).unwrap();
    let switch = stand.secret.script().calls().iter().position(|call| *call == "move_current").unwrap();

    let stand = Stand::rotated();
    stand.secret.start_rotation("v2").unwrap();
    for step in &STEPS[..3] {
        stand.run(*step, "v2", later()).unwrap();
    }
    stand.secret.script().restart();
    stand.secret.script().fail(switch, Fault::After);
    stand.run(Step::Finish, "v2", later()).unwrap_err();
    assert_eq!(stand.secret.version_with(CURRENT).as_deref(), Some("v2"));
    assert_eq!(stand.secret.version_with(PREVIOUS).as_deref(), Some("v1"));
    stand.run(Step::Finish, "v2", later()).unwrap();
    assert_eq!(stand.secret.version_with(PREVIOUS), None, "the second run tidies what the first left");
}

#[test]
fn a_published_set_that_was_changed_by_another_hand_fails_the_test() {
    let stand = Stand::rotated();
    stand.secret.start_rotation("v2").unwrap();
    stand.run(Step::Create, "v2", later()).unwrap();
    stand.run(Step::Set, "v2", later()).unwrap();
    let honest = stand.published.text().unwrap();
    let other = KeyRing::first(&[ALGORITHM], RingPolicy::default(), start()).unwrap();
    stand.published.set(Some(&other.published(start()).to_stored_json()));
    for step in [Step::Test, Step::Finish] {
        assert!(matches!(stand.run(step, "v2", later()), Err(RotationError::BadKey { .. })), "{step:?}");
    }
    stand.published.set(Some("{\"keys\":[{\"kty\":\"OKP\",\"d\":\"AAAA\"}]}"));
    for step in [Step::Set, Step::Test, Step::Finish] {
        assert!(matches!(stand.run(step, "v2", later()), Err(RotationError::KeySet(_))), "{step:?}");
    }
    stand.published.set(Some(&honest));
    stand.run(Step::Test, "v2", later()).unwrap();
}

#[test]
fn what_would_not_fit_is_refused_before_anything_is_written() {
    let stand = Stand::new();
    stand.published.set_max_bytes(500);
    stand.secret.start_rotation("v1").unwrap();
    let error = stand.run(Step::Create, "v1", start()).unwrap_err();
    assert!(matches!(error, RotationError::TooLarge { worst, max: 500 } if worst > 500), "{error}");
    assert_eq!((stand.secret.value("v1"), stand.published.text()), (None, None));
    stand.published.set_max_bytes(MemoryPublished::MAX_BYTES);
    stand.run(Step::Create, "v1", start()).unwrap();
}

/// **INV** no step accepts a ring that is older than `min_generation`: not even a first one.
#[test]
fn a_first_ring_after_a_withdrawal_waits_for_an_operator() {
    let stand = Stand::new();
    stand.published.set(Some("{\"keys\":[],\"min_generation\":3}"));
    stand.secret.start_rotation("v1").unwrap();
    let error = stand.run(Step::Create, "v1", start()).unwrap_err();
    assert!(error.to_string().contains("generation 3"), "{error}");
    assert_eq!(stand.secret.value("v1"), None);
}

#[test]
fn a_remote_key_without_signer_does_not_pass_the_test() {
    #[derive(Debug)]
    struct Remote;

    #[async_trait::async_trait]
    impl KeyMaker for Remote {
        async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError> {
            let signer = LocalSigner::generate(algorithm).unwrap();
            let arn = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-4333-8444-555555555555".to_owned();
            Ok(KeyVersion::remote_standby(PrivateLocation::Kms { arn }, Arc::new(signer)))
        }
    }
    let stand = Stand::new();
    let (secret, published) = (Arc::new(stand.secret.clone()), Arc::new(stand.published.clone()));
    let rotation = Rotation::new(secret, published, Arc::new(Remote), vec![Algorithm::Es256], RingPolicy::default());
    stand.secret.start_rotation("v1").unwrap();
    run_to_end(rotation.run(Step::Create, "v1", start())).unwrap();
    run_to_end(rotation.run(Step::Set, "v1", start())).unwrap();
    let error = run_to_end(rotation.run(Step::Test, "v1", start())).unwrap_err();
    assert!(matches!(&error, RotationError::BadKey { found, .. } if found.contains("no signer")), "{error}");
}

/// **INV** no step publishes a withdrawn kid or lowers `min_generation`.
#[test]
fn a_withdrawal_ends_a_pending_rotation_and_stays() {
    let stand = Stand::rotated();
    let stolen = stand.active();
    stand.secret.start_rotation("v2").unwrap();
    stand.run(Step::Create, "v2", later()).unwrap();
    let report = stand.withdraw(&Withdrawal::Key(stolen.clone()), "w1").unwrap();
    assert_eq!((report.keys.len(), report.min_generation), (1, 3));
    assert_eq!(report.refusals_until, None, "the standby has been public for a month");
    assert!(stand.set().get(&stolen).is_none());
    assert_eq!((stand.secret.version_with(PENDING), stand.secret.version_with(PREVIOUS)), (None, None));
    stand.run(Step::Set, "v2", later()).unwrap_err();
    // Whoever makes the old version current again gains nothing.
    stand.secret.operator_puts("v4", &stand.secret.value("v1").unwrap());
    stand.secret.start_rotation("v5").unwrap();
    let error = stand.run(Step::Create, "v5", later()).unwrap_err();
    assert!(matches!(&error, RotationError::Ring { error: RingError::Stale { .. }, .. }), "{error}");
    assert_eq!(stand.set().min_generation(), 3);
}

/// **INV** no step accepts what publishes a withdrawn kid: a planted key, once withdrawn, does not come back.
#[test]
fn a_planted_key_is_withdrawn_and_does_not_come_back() {
    let stand = Stand::rotated();
    let (signing, planted) = (stand.active(), LocalSigner::generate(ALGORITHM).unwrap().public_key().clone());
    let plant = || {
        let set = stand.set();
        let entries = set.entries().cloned().chain([PublishedKey::new(planted.clone())]);
        stand.published.set(Some(&KeySet::new(entries, set.min_generation()).to_stored_json()));
    };
    plant();
    let report = stand.withdraw(&Withdrawal::Key(planted.kid().clone()), "w1").unwrap();
    assert!(report.keys[0].foreign && report.keys.len() == 1 && report.refusals_until.is_none(), "{report:?}");
    assert_eq!((stand.active(), stand.set().get(planted.kid())), (signing.clone(), None));
    assert_eq!(stand.ring().key_versions().len(), 2, "nothing was promoted, nothing made");
    assert_eq!(stand.set().min_generation(), stand.ring().generation());
    // Planted again, it goes with the next step, whichever that is; or with a withdrawal that is run again.
    plant();
    let report = stand.withdraw(&Withdrawal::Key(planted.kid().clone()), "w2").unwrap();
    assert_eq!((report.keys.len(), stand.set().get(planted.kid())), (0, None));
    stand.secret.start_rotation("v2").unwrap();
    for step in STEPS {
        plant();
        stand.run(step, "v2", later()).unwrap();
        assert_eq!(stand.set().get(planted.kid()), None, "{step:?}");
    }
    assert_eq!(stand.set().min_generation(), 3, "as the withdrawal left it, or higher");
}

#[test]
fn a_kid_that_is_nowhere_is_refused_and_nothing_is_changed() {
    let stand = Stand::rotated();
    stand.secret.start_rotation("v2").unwrap();
    stand.run(Step::Create, "v2", later()).unwrap();
    let before = (format!("{:?}", stand.secret), stand.published.history().len());
    let unknown = LocalSigner::generate(ALGORITHM).unwrap().public_key().kid().clone();
    let error = stand.withdraw(&Withdrawal::Key(unknown.clone()), "w1").unwrap_err().to_string();
    assert!(error.contains("of the ring or of the published set") && error.contains(unknown.as_str()), "{error}");
    assert_eq!((format!("{:?}", stand.secret), stand.published.history().len()), before);
}

/// A key past its retention that the set still has: no rotation has run since.
#[test]
fn a_retired_key_can_be_withdrawn() {
    let stand = Stand::rotated();
    let retired = stand.active();
    stand.rotate("v2", later());
    let month_after = at("2027-01-21T00:00:00Z");
    let before = stand.set();
    stand.rotate("v3", month_after);
    assert!(stand.ring().get(&retired).is_none() && stand.set().get(&retired).is_none());
    // As it is when the step that drops it has not run, or was undone.
    stand.published.set(Some(&before.to_stored_json()));
    let report = run_to_end(stand.rotation.withdraw(&Withdrawal::Key(retired.clone()), "w1", month_after)).unwrap();
    assert!(report.keys[0].foreign, "{report:?}");
    assert!(stand.set().get(&retired).is_none() && stand.ring().withdrawn().any(|kid| *kid == retired));
    // The older rings that have it are void.
    for version in ["v1", "v2", "v3"] {
        let ring = KeyRing::parse(&stand.secret.value(version).unwrap()).unwrap();
        assert!(ring.permitted_by(&stand.set()).is_err(), "{version}");
    }
}

/// A step that stops between its write and its look at what it wrote over has undone a withdrawal's publication. Whatever
/// runs next puts it right: the store runs a step again that did not end well, though its version is gone by then.
#[test]
fn a_withdrawal_that_a_crashed_step_undid_is_published_again() {
    for by_the_next_rotation in [false, true] {
        let stand = Stand::rotated();
        let stolen = stand.active();
        stand.secret.start_rotation("v2").unwrap();
        stand.run(Step::Create, "v2", later()).unwrap();
        stand.secret.script().restart();
        let set = || stand.rotation.run(Step::Set, "v2", later());
        let calls = {
            run_to_end(set()).unwrap();
            stand.secret.script().calls()
        };
        let write = calls.iter().position(|call| *call == "published.write").unwrap();
        let (withdrawal, forever) = (Withdrawal::Key(stolen.clone()), std::iter::repeat_n(1, 1_000));
        // Back to before that step's write.
        stand.published.set(Some(&stand.published.history()[0]));
        let step = async { set().await.map(|()| None) };
        let withdraw = async { stand.rotation.withdraw(&withdrawal, "w1", later()).await.map(Some) };
        // A call is made by the poll after the one that gave way before it.
        let order = std::iter::repeat_n(0, write + 1).chain(forever).chain([0]);
        let outcomes = interleave(vec![Box::pin(step), Box::pin(withdraw)], order);
        assert!(outcomes[0].is_none() && matches!(outcomes[1], Some(Ok(Some(_)))), "{outcomes:?}");
        assert!(stand.set().get(&stolen).is_some() && stand.set().min_generation() == 0, "the withdrawal is undone");
        if by_the_next_rotation {
            stand.secret.start_rotation("v3").unwrap();
            stand.run(Step::Create, "v3", later()).unwrap();
        } else {
            let again = run_to_end(set());
            assert!(matches!(again, Err(RotationError::NotPending { .. } | RotationError::Setup(_))), "{again:?}");
        }
        assert!(stand.set().get(&stolen).is_none(), "{by_the_next_rotation}");
        assert_eq!(stand.set().min_generation(), stand.ring().generation());
    }
}

#[test]
fn a_withdrawal_may_fail_at_any_call_and_be_run_again() {
    let calls = {
        let stand = Stand::rotated();
        stand.secret.script().restart();
        stand.withdraw(&Withdrawal::Key(stand.active()), "w0").unwrap();
        stand.secret.script().calls().len()
    };
    for fault in [Fault::Before, Fault::After] {
        for call in 0..calls {
            let stand = Stand::rotated();
            let stolen = stand.active();
            stand.secret.script().restart();
            stand.secret.script().fail(call, fault);
            stand.withdraw(&Withdrawal::Key(stolen.clone()), "w1").unwrap_err();
            stand.secret.script().restart();
            stand.withdraw(&Withdrawal::Key(stolen.clone()), "w2").unwrap();
            assert!(stand.set().get(&stolen).is_none(), "{fault:?} {call}");
            assert!(stand.ring().withdrawn().any(|kid| *kid == stolen), "{fault:?} {call}");
            assert!(stand.set().get(&stand.active()).is_some(), "{fault:?} {call}");
            assert_eq!(stand.set().min_generation(), stand.ring().generation(), "{fault:?} {call}");
            let left = (stand.secret.version_with(PENDING), stand.secret.version_with(PREVIOUS));
            assert_eq!(left, (None, None), "{fault:?} {call}");
        }
    }
}

#[test]
fn health_counts_days_and_foreign_keys() {
    let stand = Stand::rotated();
    let health = |now| run_to_end(stand.rotation.health(now)).unwrap();
    let expected =
        RotationHealth { generation: Some(1), published_keys: 2, foreign_keys: 0, key_days_left: Some(30.0) };
    assert_eq!(health(start()), expected);
    assert_eq!(health(later()).key_days_left, Some(0.0));
    // The pending ring's keys are ours.
    stand.secret.start_rotation("v2").unwrap();
    stand.run(Step::Create, "v2", later()).unwrap();
    stand.run(Step::Set, "v2", later()).unwrap();
    assert_eq!((health(later()).published_keys, health(later()).foreign_keys), (3, 0));
    let other = KeyRing::first(&[ALGORITHM], RingPolicy::default(), start()).unwrap();
    stand.published.set(Some(&other.published(start()).to_stored_json()));
    assert_eq!(health(later()).foreign_keys, 2);
    let empty = Stand::new();
    assert_eq!(run_to_end(empty.rotation.health(start())).unwrap(), RotationHealth::default());
}
