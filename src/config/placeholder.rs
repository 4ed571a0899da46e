//! Stand-ins for the settings of other rooms, until those exist.
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretString;

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
