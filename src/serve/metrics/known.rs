//! Gauges that are there only while their value is known: absent is not 0.

use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// A value that is known now. Those of one name stand together.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    /// From bounded sets.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<Vec<Sample>>>);

impl Known {
    pub fn set(&self, samples: &[Sample]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = samples.to_vec();
    }
}

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for all in samples.chunk_by(|one, other| one.name == other.name) {
            let mut metric =
                encoder.encode_descriptor(all[0].name, all[0].help, None, MetricType::Gauge)?;
            for Sample { labels, value, .. } in all {
                let labels: Vec<_> = labels.iter().map(|(name, of)| (*name, &**of)).collect();
                ConstGauge::new(*value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
