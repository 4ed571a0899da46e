//! `check --online`: whether the provider can be reached and takes the key.

use super::{Provider, Seen};
use crate::domain::scan::Observation;
use crate::egress::Request;
use crate::time::Timestamp;

impl Provider {
    /// Asks for a scan that nobody has, or, where the profile knows no such ID, for the base URL alone.
    ///
    /// `Ok` and `Err` are one sentence each, without URL and secret.
    pub async fn probe(&self, now: Timestamp) -> Result<String, String> {
        let Some(nobody) = &self.profile.probe_id else { return self.knock().await };
        let Seen { observation, detail, .. } = self.poll(nobody, now).await;
        match observation {
            Observation::Unauthorized => Err(format!("the key is refused ({detail})")),
            Observation::Unavailable { .. } => Err(detail),
            Observation::NotFound { .. } => Ok("answers and takes the key".to_owned()),
            Observation::Running { .. } | Observation::Ended(_) => Ok(format!("answers ({detail})")),
        }
    }

    /// Any answer will do: without an ID nothing can be said about the key.
    async fn knock(&self) -> Result<String, String> {
        let request = Request {
            method: reqwest::Method::GET,
            url: self.base.clone(),
            headers: reqwest::header::HeaderMap::new(),
            body: bytes::Bytes::new(),
            max_body: 1024,
        };
        let answer = self.client.send(request).await.map_err(|error| error.detail)?;
        Ok(format!("can be reached (HTTP {}); the key was not tried", answer.status))
    }
}
