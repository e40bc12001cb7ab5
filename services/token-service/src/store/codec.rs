//! How a family is stored: a head of fixed width that the scripts read and change (`redis/lua/prelude.lua` has its columns), then
//! JSON of what never changes, with short names. What the head says is not said again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decide::{FamilyState, StoredChild};
use super::family::{Child, Family, FamilyKind, Loaded, MAX_FAMILY_BYTES, binding, millis, moment};
use super::ids::{Epoch, Standing, TokenId, UserKey};
use super::port::StoreError;

/// What the scripts change of a refresh family: tokens, scope, access token, times and flags.
const REFRESH_AREA: usize = 128;
/// What they change of a parent: its latest child.
const PARENT_AREA: usize = 53;
/// What they do not change but the state.
const FIXED: usize = 110;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest<'a> {
    #[serde(rename = "u", borrow)]
    user: Cow<'a, str>,
    #[serde(rename = "c", borrow)]
    client: Cow<'a, str>,
    #[serde(rename = "s", default, skip_serializing_if = "is_empty")]
    scopes: Cow<'a, [String]>,
    #[serde(rename = "a", default, skip_serializing_if = "is_empty")]
    audience: Cow<'a, [String]>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    session_id: Option<Cow<'a, str>>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    network: Option<Cow<'a, str>>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<u32>,
    #[serde(rename = "x", default, skip_serializing_if = "no_extra")]
    extra: Cow<'a, BTreeMap<String, serde_json::Value>>,
    #[serde(rename = "l")]
    access_ttl_s: u64,
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    jkt: Option<Cow<'a, str>>,
    #[serde(rename = "b")]
    created: i64,
}

fn is_empty(list: &[String]) -> bool {
    list.is_empty()
}

#[expect(clippy::ptr_arg, reason = "serde calls it with the field as it is")]
fn no_extra(extra: &Cow<'_, BTreeMap<String, serde_json::Value>>) -> bool {
    extra.is_empty()
}

/// A new family as it is stored. `state` is its state.
pub(crate) fn encode(family: &Family, state: &FamilyState) -> Result<Vec<u8>, StoreError> {
    let kind = match (state.kind, family.renews) {
        (FamilyKind::Refresh, _) => 'r',
        (FamilyKind::Parent, false) => 'p',
        (FamilyKind::Parent, true) => 'P',
    };
    let mut value = Vec::with_capacity(768);
    value.extend_from_slice(format!("F1L{kind}{:013}{:013}{}", state.expires, state.kept, state.user).as_bytes());
    value.extend_from_slice(state.standing.epoch.as_bytes());
    value.extend_from_slice(format!("{:010}", state.standing.generation).as_bytes());
    value.extend_from_slice(&state.binding);
    match state.current {
        Some(current) => {
            value.extend_from_slice(&current);
            value.resize(FIXED + REFRESH_AREA - 1, b'0');
            value.push(b'-');
        }
        None => {
            value.push(b'-');
            value.resize(FIXED + PARENT_AREA, b'0');
        }
    }
    let rest = Rest {
        user: Cow::Borrowed(&family.user),
        client: Cow::Borrowed(&family.client),
        scopes: Cow::Borrowed(&family.scopes),
        audience: Cow::Borrowed(&family.audience),
        session_id: family.session_id.as_deref().map(Cow::Borrowed),
        network: family.network.as_deref().map(Cow::Borrowed),
        rate_limit: family.rate_limit,
        extra: Cow::Borrowed(&family.extra),
        access_ttl_s: family.access_ttl_s,
        jkt: family.jkt.as_deref().map(Cow::Borrowed),
        created: millis(family.created),
    };
    serde_json::to_writer(&mut value, &rest).map_err(|_| StoreError::corrupt("a family that has no JSON form"))?;
    if value.len() > MAX_FAMILY_BYTES {
        return Err(StoreError::corrupt(format!("a family of {} bytes, more than {MAX_FAMILY_BYTES}", value.len())));
    }
    Ok(value)
}

/// The family `id` as it is stored. Everything is checked that could have been written by somebody else.
pub(crate) fn decode(id: TokenId, value: &[u8]) -> Result<Loaded, StoreError> {
    parse(id, value).ok_or_else(|| StoreError::corrupt(format!("family {id} as stored")))
}

fn parse(id: TokenId, value: &[u8]) -> Option<Loaded> {
    let (magic, rest) = value.split_first_chunk::<3>()?;
    let (kind, rest) = rest.split_first()?;
    let (expires, rest) = number::<13>(rest)?;
    let (_kept, rest) = number::<13>(rest)?;
    let (user, rest) = rest.split_first_chunk::<22>()?;
    let (epoch, rest) = rest.split_first_chunk::<16>()?;
    let (generation, rest) = number::<10>(rest)?;
    let (bound_to, rest) = rest.split_first_chunk::<32>()?;
    let (kind, renews, area) = match kind {
        b'r' => (FamilyKind::Refresh, false, REFRESH_AREA),
        b'p' => (FamilyKind::Parent, false, PARENT_AREA),
        b'P' => (FamilyKind::Parent, true, PARENT_AREA),
        _ => return None,
    };
    let (area, json) = rest.split_at_checked(area)?;
    let latest = if kind == FamilyKind::Parent { parse_child(area)? } else { None };
    let stored: Rest<'_> = serde_json::from_slice(json).ok()?;
    let key = UserKey::of(&stored.user);
    let sound = magic == b"F1L"
        && key.to_string().as_bytes() == user
        && key.tag() == id.tag()
        && binding(&stored.client, stored.jkt.as_deref()) == *bound_to;
    let family = Family {
        id,
        user: stored.user.into_owned(),
        kind,
        client: stored.client.into_owned(),
        scopes: stored.scopes.into_owned(),
        audience: stored.audience.into_owned(),
        session_id: stored.session_id.map(Cow::into_owned),
        network: stored.network.map(Cow::into_owned),
        rate_limit: stored.rate_limit,
        extra: stored.extra.into_owned(),
        access_ttl_s: stored.access_ttl_s,
        jkt: stored.jkt.map(Cow::into_owned),
        renews,
        created: moment(stored.created),
        expires: moment(expires),
        standing: Standing { epoch: Epoch::from_bytes(*epoch), generation: generation.try_into().ok()? },
    };
    sound.then_some(Loaded { family, latest })
}

fn parse_child(area: &[u8]) -> Option<Option<Child>> {
    let (flag, rest) = area.split_first()?;
    if *flag == b'-' {
        return Some(None);
    }
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (issued, rest) = number::<13>(rest)?;
    let (expires, rest) = number::<13>(rest)?;
    let (seq, _) = number::<10>(rest)?;
    let child = StoredChild { id: TokenId::from_bytes(*id)?, issued, expires, seq: seq.try_into().ok()? };
    (*flag == b'+').then(|| Some(child.child()))
}

/// The decimal digits that the text starts with.
fn number<const DIGITS: usize>(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<DIGITS>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// A family whose times are as exact as stored ones.
pub(crate) fn to_the_millisecond(family: &Family) -> Family {
    Family { created: moment(millis(family.created)), expires: moment(millis(family.expires)), ..family.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decide::FamilyState;
    use super::super::family::{Family, FamilyKind};
    use super::super::ids::{Epoch, Standing, TokenId, UserKey};
    use super::{decode, encode};

    fn family(user: String, client: String, scopes: Vec<String>, jkt: Option<String>, kind: FamilyKind) -> Family {
        Family {
            id: TokenId::new(&UserKey::of(&user), [9; 16]),
            user,
            kind,
            client,
            audience: scopes.clone(),
            session_id: jkt.clone(),
            network: None,
            rate_limit: Some(7),
            extra: scopes.iter().map(|scope| (scope.clone(), serde_json::json!({"a": [1, scope]}))).collect(),
            scopes,
            access_ttl_s: 900,
            jkt,
            renews: kind == FamilyKind::Parent,
            created: "2026-11-22T00:00:00.123Z".parse().unwrap(),
            expires: "2026-12-22T00:00:00Z".parse().unwrap(),
            standing: Standing { epoch: Epoch::from_bytes([0xff; 16]), generation: 3 },
        }
    }

    fn kinds() -> impl Strategy<Value = FamilyKind> {
        prop_oneof![Just(FamilyKind::Parent), Just(FamilyKind::Refresh)]
    }

    fn stored(family: &Family) -> Vec<u8> {
        let current = (family.kind == FamilyKind::Refresh).then_some([5; 32]);
        encode(family, &FamilyState::new(family, current).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read(user: String, client: String, scopes in prop::collection::vec(any::<String>(), 0..6), jkt: Option<String>, kind in kinds()) {
            let family = family(user, client, scopes, jkt, kind);
            let loaded = decode(family.id, &stored(&family)).unwrap();
            prop_assert_eq!(loaded.family, family);
            prop_assert_eq!(loaded.latest, None);
        }

        /// No byte may be changed into a family of somebody else, or of another client or key, and none makes it panic.
        #[test]
        fn damage_is_noticed_or_harmless(at in 0_usize..400, byte: u8, cut in 0_usize..400, kind in kinds()) {
            let family = family("alice".into(), "client".into(), vec!["read".into()], Some("key".into()), kind);
            let whole = stored(&family);
            let mut damaged = whole.clone();
            if let Some(there) = damaged.get_mut(at) {
                *there = byte;
            }
            for value in [damaged.as_slice(), whole.get(..cut.min(whole.len() - 1)).unwrap()] {
                if let Ok(loaded) = decode(family.id, value) {
                    prop_assert_eq!(&loaded.family.user, "alice");
                    prop_assert_eq!(&loaded.family.client, "client");
                    prop_assert_eq!(loaded.family.jkt.as_deref(), Some("key"));
                }
            }
        }
    }

    #[test]
    fn a_family_of_another_user_is_not_read() {
        let alice = family("alice".into(), "c".into(), Vec::new(), None, FamilyKind::Refresh);
        let bobs = TokenId::new(&UserKey::of("bob"), [9; 16]);
        assert!(decode(bobs, &stored(&alice)).is_err());
    }

    #[test]
    fn a_family_has_a_size() {
        let large = family("alice".into(), "c".repeat(17_000), Vec::new(), None, FamilyKind::Refresh);
        let error = encode(&large, &FamilyState::new(&large, Some([5; 32])).unwrap()).unwrap_err();
        assert!(error.to_string().contains("more than 16384"), "{error}");
    }
}
