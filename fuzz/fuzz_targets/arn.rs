//! The ARN of a caller: parsing never panics, what is accepted prints as it was read, and a principal that is built from
//! it says nothing the ARN does not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token_claims::{AwsArn, CallerIdentity, Principal, SsoPath};

/// Longest text that an error may quote, with room for its own words: never the whole of a foreign string.
const MAX_MESSAGE: usize = 1024;

fuzz_target!(|text: &str| {
    match text.parse::<AwsArn>() {
        Ok(arn) => {
            assert_eq!(arn.to_string(), text, "an accepted ARN prints as it was read");
            assert_eq!(arn.to_string().parse::<AwsArn>().as_ref(), Ok(&arn));
            assert!(arn.account().len() == 12 && arn.account().bytes().all(|byte| byte.is_ascii_digit()));
            let account = Some(arn.account());
            for sso_path in [SsoPath::Enforced, SsoPath::Unproven] {
                for caller in callers(text, &arn) {
                    let identity = CallerIdentity {
                        user_arn: text,
                        account_id: account,
                        caller: Some(&caller),
                        user: None,
                        sso_path,
                    };
                    match Principal::from_caller(&identity) {
                        Ok(principal) => assert_eq!(principal.to_string(), text, "a principal is logged as its ARN"),
                        Err(error) => assert!(error.to_string().len() <= MAX_MESSAGE),
                    }
                }
            }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= MAX_MESSAGE, "an error quotes a bounded part: {message}");
            assert!(!message.chars().any(char::is_control), "an error escapes what it quotes: {message:?}");
        }
    }
});

/// What a door could say beside the ARN: the forms that agree with it, and one that does not.
fn callers(text: &str, arn: &AwsArn) -> [String; 4] {
    let last = text.rsplit('/').next().unwrap_or_default();
    [
        format!("AROAEXAMPLEEXAMPLE123:{last}"),
        "AIDAEXAMPLEEXAMPLE123".to_owned(),
        arn.account().to_owned(),
        format!("{}:{last}", arn.account()),
    ]
}
