//! Stand-ins for the settings of other rooms, until those exist.
#![expect(missing_docs, reason = "gone soon")]
use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::egress::Limits;
use crate::secret::SecretString;
use crate::time::Span;

pub mod provider {
    use super::*;
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct Poll {
        pub first: Option<Span>,
        pub growth: Option<f64>,
        pub max: Option<Span>,
        pub deadline: Option<Span>,
        pub not_found_grace: Option<Span>,
    }
    #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct Settings {
        pub profile: Option<String>,
        pub base_url: Option<String>,
        #[schemars(with = "Option<String>")]
        pub api_key: Option<SecretString>,
        pub api_key_file: Option<PathBuf>,
        pub poll: Poll,
        pub limits: Limits,
        pub ca_file: Option<PathBuf>,
        pub cert_file: Option<PathBuf>,
        pub key_file: Option<PathBuf>,
    }
}

pub mod destination {
    use super::*;
    #[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct Retry {
        pub first: Span,
        pub growth: f64,
        pub max: Span,
        pub give_up_after: Span,
    }
    impl Default for Retry {
        fn default() -> Self {
            Self { first: Span::secs(2), growth: 2.0, max: Span::secs(3600), give_up_after: Span::secs(259_200) }
        }
    }
    pub mod slack {
        use super::super::*;
        #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            #[schemars(with = "Option<String>")]
            pub webhook_url: Option<SecretString>,
            pub webhook_url_file: Option<PathBuf>,
            #[schemars(with = "Option<String>")]
            pub bot_token: Option<SecretString>,
            pub bot_token_file: Option<PathBuf>,
            pub channel: Option<String>,
            pub api_url: Option<String>,
            pub template: Option<String>,
            pub retry: super::Retry,
            pub limits: Limits,
        }
    }
    pub mod email {
        use super::super::*;
        #[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum Tls {
            #[default]
            Required,
            Opportunistic,
            None,
        }
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            pub smtp: String,
            #[serde(default)]
            pub tls: Tls,
            pub username: Option<String>,
            pub auth: Option<String>,
            #[schemars(with = "Option<String>")]
            pub password: Option<SecretString>,
            pub password_file: Option<PathBuf>,
            pub from: String,
            pub to: Vec<String>,
            pub template: Option<String>,
            #[serde(default)]
            pub retry: super::Retry,
            #[serde(default)]
            pub limits: Limits,
        }
    }
    pub mod webhook {
        use super::super::*;
        #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            #[schemars(with = "Option<String>")]
            pub url: Option<SecretString>,
            pub url_file: Option<PathBuf>,
            #[schemars(with = "Option<String>")]
            pub signing_secret: Option<SecretString>,
            pub signing_secret_file: Option<PathBuf>,
            pub format: Option<String>,
            #[schemars(with = "BTreeMap<String, String>")]
            pub headers: BTreeMap<String, SecretString>,
            pub allow_private: bool,
            pub allow_cidrs: Vec<String>,
            pub retry: super::Retry,
            pub limits: Limits,
        }
    }
    #[derive(Debug, Clone)]
    pub enum Settings {
        Slack(slack::Settings),
        Email(email::Settings),
        Webhook(webhook::Settings),
    }
}

pub mod routing {
    use super::*;
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct RouteSettings {
        #[serde(default)]
        pub name: String,
        pub when: Option<String>,
        pub to: Vec<String>,
        #[serde(default)]
        pub stop: bool,
    }
}

pub mod amqp {
    use super::*;
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct Settings {
        #[schemars(with = "Option<String>")]
        pub url: Option<SecretString>,
        pub url_file: Option<PathBuf>,
        pub queue: String,
        pub queue_type: QueueType,
        pub declare: bool,
        pub dead_letter_queue: String,
        pub prefetch: u16,
    }
    #[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum QueueType {
        #[default]
        Quorum,
        Classic,
    }
    impl Default for Settings {
        fn default() -> Self {
            Self {
                url: None,
                url_file: None,
                queue: "scan.requests".into(),
                queue_type: QueueType::Quorum,
                declare: true,
                dead_letter_queue: "scan.requests.dead".into(),
                prefetch: 256,
            }
        }
    }
}
