//! API Gateway's events, both formats, with the body of `POST /token` and the identity they lead to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_claims::{CallerIdentity, Principal, SsoPath};
use token_http::{GatewayEvent, is_organization_id, token_request};

fuzz_target!(|bytes: &[u8]| {
    let event = match GatewayEvent::parse(bytes) {
        Ok(event) => event,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() <= 1024, "{message}");
            return;
        }
    };
    assert!(event.caller.user_arn.as_deref() != Some(""), "no identity and an empty one are the same");
    assert!(event.caller.organization_id.as_deref().is_none_or(is_organization_id));
    match token_request(&event) {
        Ok(request) => {
            let scopes = request.scopes.unwrap_or_default();
            assert!(scopes.iter().all(|scope| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic())));
            assert!(request.audience.is_none_or(|audience| audience.bytes().all(|byte| byte.is_ascii_graphic())));
        }
        Err(error) => {
            assert!((400..500).contains(&error.status().as_u16()), "a body is the caller's fault");
            // RFC 6749 section 5.2: no quotation mark, no backslash, ASCII.
            let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(error.description().bytes().all(plain), "{:?}", error.description());
        }
    }
    if let Some(user_arn) = event.caller.user_arn.as_deref() {
        let identity = CallerIdentity {
            user_arn,
            account_id: event.caller.account_id.as_deref(),
            caller: event.caller.caller.as_deref(),
            user: event.caller.user.as_deref(),
            sso_path: SsoPath::Unproven,
        };
        match Principal::from_caller(&identity) {
            Ok(principal) => assert_eq!(principal.to_string(), user_arn),
            Err(error) => assert!(error.to_string().len() <= 1024),
        }
    }
});
