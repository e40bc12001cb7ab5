//! The JSON reader: one reading or none.

use proptest::prelude::*;
use serde_json::{Value, json};
use token_jose::strict_json::{Limits, StrictJsonError, parse, parse_object};

const LIMITS: Limits = Limits::new(4096, 8);

#[test]
fn reads_what_serde_json_reads() {
    // This also fails if a dependency ever switches on serde_json's `arbitrary_precision`, which changes how numbers arrive.
    let text = r#" {"a":[1,-2,3.5,1e3,0,18446744073709551615,true,false,null,"\u00e9\ud83d\ude00\n"],"b":{},"":[]} "#;
    assert_eq!(parse(text.as_bytes(), LIMITS).unwrap(), serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn refuses_every_second_reading() {
    type Check = fn(&StrictJsonError) -> bool;
    let duplicate: Check = |error| matches!(error, StrictJsonError::Duplicate { line: 1, .. });
    let syntax: Check = |error| matches!(error, StrictJsonError::Syntax { .. });
    let number: Check = |error| matches!(error, StrictJsonError::Number { .. });
    let cases: [(&[u8], Check); 23] = [
        (br#"{"a":1,"a":1}"#, duplicate),
        (br#"{"a":1,"\u0061":1}"#, duplicate),
        (br#"[{"b":{"a":1,"c":2,"a":3}}]"#, duplicate),
        (br#"{"":1,"":1}"#, duplicate),
        (b"", syntax),
        (b"{} {}", syntax),
        (b"{},", syntax),
        (b"{}\0", syntax),
        (b"\xef\xbb\xbf{}", syntax),
        (br#"{"a":1,}"#, syntax),
        (b"[1,]", syntax),
        (b"{'a':1}", syntax),
        (b"{a:1}", syntax),
        (b"// c\n1", syntax),
        (b"NaN", syntax),
        (b"01", syntax),
        (b"+1", syntax),
        (b".5", syntax),
        (br#""\ud800""#, syntax),
        (br#""\udc00\ud800""#, syntax),
        (b"\"a\nb\"", syntax),
        (b"1e999", syntax),
        (b"18446744073709551616", number),
    ];
    for (text, check) in &cases {
        let error = parse(text, LIMITS).unwrap_err();
        assert!(check(&error), "{:?}: {error}", String::from_utf8_lossy(text));
    }
    assert!(matches!(parse(b"-1e16", LIMITS), Err(StrictJsonError::Number { .. })));
    assert_eq!(parse(b"\"\xff\"", LIMITS), Err(StrictJsonError::NotUtf8 { at: 1 }));
    assert_eq!(parse(b"\"\xed\xa0\x80\"", LIMITS), Err(StrictJsonError::NotUtf8 { at: 1 }));
    assert_eq!(parse_object(b"[]", LIMITS), Err(StrictJsonError::NotAnObject { found: "an array" }));
}

#[test]
fn bounds_size_and_depth() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(8).as_bytes(), LIMITS).is_ok());
    assert!(matches!(parse(nested(9).as_bytes(), LIMITS), Err(StrictJsonError::TooDeep { limit: 8, .. })));
    let bottomless = "[".repeat(4000);
    assert!(matches!(parse(bottomless.as_bytes(), LIMITS), Err(StrictJsonError::TooDeep { .. })));
    let any_depth = Limits::new(1 << 20, usize::MAX);
    assert!(matches!(
        parse("{\"a\":".repeat(4000).as_bytes(), any_depth),
        Err(StrictJsonError::TooDeep { limit: 100, .. })
    ));
    assert!(parse(b"1", Limits::new(1, 0)).is_ok());
    assert!(matches!(parse(b"{}", Limits::new(2, 0)), Err(StrictJsonError::TooDeep { limit: 0, .. })));
    assert_eq!(parse(b"[]", Limits::new(1, 8)), Err(StrictJsonError::TooLarge { limit: 1, found: 2 }));
}

/// JSON of every shape, within the limits.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn accepts_all_that_serde_json_writes(value in any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        let limits = Limits::new(1 << 20, 8);
        let read = parse(&text, limits).unwrap();
        // Through text on both sides: serde_json itself may round the last digit of a fraction.
        prop_assert_eq!(read, serde_json::from_slice::<Value>(&text).unwrap());
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if parse(&bytes, LIMITS).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn a_repeated_member_is_refused_wherever_it_is(name in any::<String>(), value in any_json(), depth in 0_usize..4) {
        let member = format!("{}:{}", json!(name), value);
        let text = format!("{}{{{member},{member}}}{}", "[".repeat(depth), "]".repeat(depth));
        let refused = parse(text.as_bytes(), Limits::new(1 << 20, 16));
        let duplicate = matches!(refused, Err(StrictJsonError::Duplicate { .. }));
        prop_assert!(duplicate, "{:?}", refused);
    }

    #[test]
    fn errors_never_repeat_the_document(secret in "[A-Z]{12}", cut in 1_usize..40) {
        let text = format!(r#"{{"{secret}":"{secret}","{secret}":[{secret}"#);
        let cut = cut.min(text.len());
        if let Err(error) = parse(&text.as_bytes()[..cut], LIMITS) {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains(&secret[..4]), "{}", shown);
        }
    }
}
