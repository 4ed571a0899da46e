//! Keeps the numbers and writes them out as Prometheus text.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics;

/// Seconds of one exchange over the network: from a loopback answer to the longest time-out.
const EXCHANGE: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Seconds until somebody knows: from at once to the three days after which a delivery is given up.
const LAG: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0, 259_200.0];

/// The one recorder of the process.
static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// What reads the metrics out.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

/// Starts keeping the metrics of this process; again, it hands out the same ones.
pub fn install() -> Handle {
    let handle = INSTALLED.get_or_init(|| {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // Fails only where another library has installed one: then ours stays empty, and nothing breaks.
        let _other = ::metrics::set_global_recorder(recorder);
        metrics::describe();
        handle
    });
    Handle(handle.clone())
}

fn builder() -> PrometheusBuilder {
    let with = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
        // Fails only without buckets; then the plain summary is what is left.
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).unwrap_or_default()
    };
    let builder = with(PrometheusBuilder::new(), "scanbell_poll_seconds", &EXCHANGE);
    let builder = with(builder, "scanbell_attempt_seconds", &EXCHANGE);
    with(builder, "scanbell_notification_lag_seconds", &LAG)
}

impl Handle {
    /// All metrics as Prometheus text (version 0.0.4).
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// To be called every few seconds: folds what was recorded into the buckets, so that memory stays bounded even
    /// if nobody ever reads the metrics.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The families of the contract, section 9.
    const FAMILIES: [(&str, &str); 14] = [
        ("scanbell_requests_total", "counter"),
        ("scanbell_scans_active", "gauge"),
        ("scanbell_polls_total", "counter"),
        ("scanbell_poll_seconds", "histogram"),
        ("scanbell_reports_total", "counter"),
        ("scanbell_attempts_total", "counter"),
        ("scanbell_attempt_seconds", "histogram"),
        ("scanbell_deliveries", "gauge"),
        ("scanbell_delivery_oldest_seconds", "gauge"),
        ("scanbell_notification_lag_seconds", "histogram"),
        ("scanbell_provider_paused", "gauge"),
        ("scanbell_destination_failing", "gauge"),
        ("scanbell_amqp_connected", "gauge"),
        ("scanbell_template_fallbacks_total", "counter"),
    ];

    fn recorded(work: impl FnOnce()) -> String {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe();
            work();
        });
        handle.render()
    }

    #[test]
    fn every_family_of_the_contract_is_written_with_type_and_help() {
        let text = recorded(|| {
            metrics::request("http", "following");
            metrics::scans_active("sieve", 1);
            let polls = metrics::Polls::of("sieve");
            polls.poll("running", Duration::from_millis(30));
            polls.report("completed", "threat", "high");
            let attempts = metrics::Attempts::of("siem");
            (0..2).for_each(|_| attempts.attempt("delivered", "ok", Duration::from_millis(30)));
            attempts.attempt("retry", "timeout", Duration::from_millis(30));
            attempts.attempt("retry", "connect", Duration::from_millis(30));
            attempts.attempt("reject", "timeout", Duration::from_millis(30));
            attempts.lag(Duration::from_secs(1));
            metrics::deliveries("siem", "pending", 2);
            metrics::delivery_oldest("siem", Duration::from_secs(3));
            metrics::provider_paused("sieve", true);
            metrics::destination_failing("siem", false);
            metrics::amqp_connected(true);
            metrics::template_fallback("siem");
        });
        for (name, kind) in FAMILIES {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind}:\n{text}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}:\n{text}");
        }
        assert!(text.contains("scanbell_poll_seconds_bucket{provider=\"sieve\",le=\"0.05\"} 1"), "{text}");
        let attempts = "scanbell_attempts_total{destination=\"siem\",verdict=";
        assert!(text.contains(&format!("{attempts}\"delivered\",reason=\"ok\"}} 2")), "{text}");
        assert!(text.contains(&format!("{attempts}\"retry\",reason=\"timeout\"}} 1")), "{text}");
        assert!(text.contains("scanbell_amqp_connected 1"), "{text}");
    }

    #[test]
    fn what_can_be_alerted_on_is_there_before_anything_happens() {
        let text = recorded(|| metrics::start(["sieve"], ["siem"], false));
        assert!(text.contains("scanbell_provider_paused{provider=\"sieve\"} 0"), "{text}");
        assert!(text.contains("scanbell_destination_failing{destination=\"siem\"} 0"), "{text}");
        assert!(text.contains("scanbell_deliveries{destination=\"siem\",state=\"dead\"} 0"), "{text}");
        assert!(text.contains("scanbell_template_fallbacks_total{destination=\"siem\"} 0"), "{text}");
        assert!(!text.contains("scanbell_amqp_connected"), "no broker is configured: {text}");
        assert!(recorded(|| metrics::start([], [], true)).contains("scanbell_amqp_connected 0"));
    }

    #[test]
    fn installing_twice_hands_out_the_same_metrics() {
        let (first, second) = (install(), install());
        metrics::template_fallback("installed-twice");
        let line = "scanbell_template_fallbacks_total{destination=\"installed-twice\"} 1";
        assert!(first.render().contains(line) && second.render().contains(line));
        first.upkeep();
    }
}
