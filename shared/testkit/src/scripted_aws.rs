//! Secrets Manager, SSM and KMS as a script: what a real store does only on a bad day.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::http_stub::{Answer, HttpStub, Request};

/// The calls that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Secrets Manager.
    GetSecretValue,
    /// SSM.
    GetParameter,
    /// KMS; the answer is what was put for the empty id.
    CreateKey,
    /// KMS.
    GetPublicKey,
}

/// What one call meets.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// The value that was put there, or the store's "not found".
    Value,
    /// 400 `ThrottlingException`.
    Throttled,
    /// This HTTP status with an empty body.
    Status(u16),
    /// This error code with HTTP 400, and a message that repeats the stored value, which no caller may pass on.
    Error(&'static str),
    /// No answer at all.
    Stall,
    /// Half an answer, then nothing.
    StalledBody,
    /// Half an answer, then the end of the connection.
    Truncated,
    /// 200 with a body that is no JSON and contains the stored value.
    MalformedJson,
    /// A connection reset.
    Reset,
}

/// A server that speaks AWS JSON 1.1 for [`Target`]s. Each target has a queue of behaviours, then a default
/// ([`Behaviour::Value`] at first); all may be changed while it runs. Signatures are not checked.
#[derive(Debug)]
pub struct ScriptedAws {
    server: HttpStub,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    documents: HashMap<(Target, String), (Value, u64)>,
    scripts: HashMap<Target, VecDeque<Behaviour>>,
    defaults: HashMap<Target, Behaviour>,
    requests: HashMap<Target, Vec<Value>>,
}

impl ScriptedAws {
    /// A server that holds nothing.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpStub::start(move |request, _| answer(&mut shared.lock().unwrap(), &request));
        Self { server, state }
    }

    /// Its endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The environment in which an AWS client calls this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        crate::moto::environment(&self.url())
    }

    /// Makes `text` the current value of the secret that is asked for as `id`.
    pub fn put_secret(&self, id: &str, text: &str) {
        self.put(Target::GetSecretValue, id, json!({ "SecretString": text }));
    }

    /// Makes `text` the value of the SecureString parameter `name`.
    pub fn put_parameter(&self, name: &str, text: &str) {
        self.put(Target::GetParameter, name, json!({ "Type": "SecureString", "Value": text }));
    }

    /// Members that the next answers for `id` have, instead of a value made by [`put_secret`](Self::put_secret) or
    /// [`put_parameter`](Self::put_parameter).
    pub fn put_raw(&self, target: Target, id: &str, members: Value) {
        self.put(target, id, members);
    }

    /// Queues `behaviour` for one call.
    pub fn next(&self, target: Target, behaviour: Behaviour) {
        self.state().scripts.entry(target).or_default().push_back(behaviour);
    }

    /// What calls meet once the queue is empty.
    pub fn always(&self, target: Target, behaviour: Behaviour) {
        self.state().defaults.insert(target, behaviour);
    }

    /// How many calls came, repeated attempts included.
    #[must_use]
    pub fn calls(&self, target: Target) -> usize {
        self.state().requests.get(&target).map_or(0, Vec::len)
    }

    /// The bodies of those calls, in order.
    #[must_use]
    pub fn requests(&self, target: Target) -> Vec<Value> {
        self.state().requests.get(&target).cloned().unwrap_or_default()
    }

    fn put(&self, target: Target, id: &str, members: Value) {
        let mut state = self.state();
        let (content, version) = state.documents.entry((target, id.to_owned())).or_default();
        *content = members;
        *version += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(state: &mut State, request: &Request) -> Answer {
    let target = match request.header("x-amz-target") {
        "secretsmanager.GetSecretValue" => Target::GetSecretValue,
        "AmazonSSM.GetParameter" => Target::GetParameter,
        "TrentService.CreateKey" => Target::CreateKey,
        "TrentService.GetPublicKey" => Target::GetPublicKey,
        _ => return failure("UnknownOperationException", "this stand-in does not know that call"),
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let id = match target {
        Target::GetSecretValue => &body["SecretId"],
        Target::GetParameter => &body["Name"],
        Target::CreateKey => &Value::Null,
        Target::GetPublicKey => &body["KeyId"],
    };
    let id = id.as_str().unwrap_or_default();
    let found =
        state.documents.get(&(target, id.to_owned())).map(|(content, version)| value(target, id, content, *version));
    state.requests.entry(target).or_default().push(body);

    let scripted = state.scripts.entry(target).or_default().pop_front();
    let behaviour = scripted.or_else(|| state.defaults.get(&target).cloned()).unwrap_or(Behaviour::Value);
    let text = found.as_ref().map(Value::to_string).unwrap_or_default();
    match behaviour {
        Behaviour::Value => match (&found, target) {
            (Some(_), _) => Answer::Full(200, headers(), text.into_bytes()),
            (None, Target::GetSecretValue) => failure("ResourceNotFoundException", "no such secret"),
            (None, Target::GetParameter) => failure("ParameterNotFound", "no such parameter"),
            (None, Target::CreateKey | Target::GetPublicKey) => failure("NotFoundException", "no such key"),
        },
        Behaviour::Throttled => failure("ThrottlingException", "Rate exceeded"),
        Behaviour::Status(status) => Answer::Full(status, headers(), Vec::new()),
        Behaviour::Error(code) => failure(code, &text),
        Behaviour::Stall => Answer::Stall,
        Behaviour::StalledBody => Answer::StalledBody(text.into_bytes()),
        Behaviour::Truncated => Answer::Truncated(text.into_bytes()),
        Behaviour::MalformedJson => Answer::Full(200, headers(), format!("<{text}").into_bytes()),
        Behaviour::Reset => Answer::Reset,
    }
}

fn value(target: Target, id: &str, members: &Value, version: u64) -> Value {
    let mut value = match target {
        Target::GetSecretValue => json!({
            "ARN": format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{id}-AbCdEf"),
            "Name": id,
            "VersionId": format!("00000000-0000-4000-8000-{version:012}"),
            "VersionStages": ["AWSCURRENT"],
        }),
        Target::GetParameter => json!({ "Name": id, "Version": version, "DataType": "text" }),
        Target::CreateKey | Target::GetPublicKey => json!({}),
    };
    for (name, member) in members.as_object().into_iter().flatten() {
        value[name] = member.clone();
    }
    match target {
        Target::GetSecretValue | Target::CreateKey | Target::GetPublicKey => value,
        Target::GetParameter => json!({ "Parameter": value }),
    }
}

fn failure(code: &str, message: &str) -> Answer {
    Answer::Full(400, headers(), json!({ "__type": code, "message": message }).to_string().into_bytes())
}

fn headers() -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "application/x-amz-json-1.1".to_owned()),
        ("x-amzn-requestid", "11111111-2222-3333-4444-555555555555".to_owned()),
    ]
}
