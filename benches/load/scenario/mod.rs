//! The loads.

pub(crate) mod churn;
pub(crate) mod consumers;
pub(crate) mod groups;
pub(crate) mod idle;
pub(crate) mod polls;
pub(crate) mod replay;
pub(crate) mod slow;
pub(crate) mod throughput;

use crate::Outcome;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::transport::fetch;

/// The sum of all samples of one metric, of those whose labels contain `label`.
fn metric(target: &Target, name: &str, label: &str) -> Outcome<f64> {
    let text = fetch(target, "/metrics")?;
    let mut sum = 0.0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let own = rest.starts_with([' ', '{']) && rest.contains(label);
        if let (true, Some((_, value))) = (own, rest.rsplit_once(' ')) {
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}
