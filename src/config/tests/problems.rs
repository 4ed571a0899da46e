use super::*;

#[test]
fn a_dozen_mistakes_are_all_told_at_once_with_place_fact_and_way_out() {
    let text = r#"
[store]
retention = "30 parsecs"

[amqpp]
url = "amqp://localhost"

[amqp]
prefech = 10
queue_type = "quorun"
declare = "yes please"
prefetch = -1
url = 5

[server]
listen = "everywhere"

[log]
format = "jsn"
filter = "inof"

[providers.sieve]
poll = { first = "soon", growth = "much", graze = "1m" }

[destinations.secops]
kind = "slak"

[destinations.nameless]
webhook_url = "https://hooks.slack.com/services/T0/B0/hunter2"

[destinations.oncall]
kind = "email"
to = ["a@example.com", 5]

[[routes]]
to = "secops"
wen = "true"

[operator]
to = ["oncal", "nowhere"]

[intake]
default_provider = "seive"

[report]
raw_limit = "much"
"#;
    insta::assert_snapshot!(said(text, &[]), @"");
}
