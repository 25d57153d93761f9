//! The messages of an event file. What `tensorboard-rs` offers above them is half unfinished, so its
//! record writer and its messages are used and nothing else.

use protobuf::well_known_types::Value;
use protobuf::{Message, RepeatedField};
use tensorboard_proto::api::{
    DataType as ParameterType, Experiment, HParamInfo, MetricInfo, MetricName, Status,
};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};
use tensorboard_proto::summary::{
    HistogramProto, Summary, Summary_Image, Summary_Value, SummaryMetadata,
    SummaryMetadata_PluginData,
};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;

/// `SummaryMetadata.data_class`, which the crate's messages do not have yet, and its value for
/// tensors.
const DATA_CLASS: u32 = 4;
const TENSOR: u64 = 2;

/// A hyperparameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter {
    Number(f64),
    Text(String),
}

/// The first record of every file.
pub fn version(seconds: f64) -> Event {
    let mut event = Event::new();
    event.set_wall_time(seconds);
    event.set_file_version("brain.Event:2".to_owned());
    event
}

/// Tells the reader to forget all points of this step and later ones that earlier files have.
pub fn session_start(seconds: f64, step: u64) -> Event {
    let mut log = SessionLog::new();
    log.set_status(SessionLog_SessionStatus::START);
    let mut event = at(seconds, step);
    event.set_session_log(log);
    event
}

/// Several values of one step.
pub fn summary(seconds: f64, step: u64, values: Vec<Summary_Value>) -> Event {
    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(values));
    let mut event = at(seconds, step);
    event.set_summary(summary);
    event
}

/// A serialised `GraphDef`.
pub fn graph(seconds: f64, graph: Vec<u8>) -> Event {
    let mut event = at(seconds, 0);
    event.set_graph_def(graph);
    event
}

fn at(seconds: f64, step: u64) -> Event {
    let mut event = Event::new();
    event.set_wall_time(seconds);
    event.set_step(step as i64);
    event
}

fn tagged(tag: &str) -> Summary_Value {
    let mut value = Summary_Value::new();
    value.set_tag(tag.to_owned());
    value
}

pub fn scalar(tag: &str, number: f64) -> Summary_Value {
    let mut value = tagged(tag);
    value.set_simple_value(number as f32);
    value
}

/// A PNG in grey (one channel) or colour (three).
pub fn image(tag: &str, width: u32, height: u32, channels: u32, png: Vec<u8>) -> Summary_Value {
    let mut image = Summary_Image::new();
    image.set_width(width as i32);
    image.set_height(height as i32);
    image.set_colorspace(channels as i32);
    image.set_encoded_image_string(png);
    let mut value = tagged(tag);
    value.set_image(image);
    value
}

/// The distribution of values in 30 equal buckets between the least and the greatest.
pub fn histogram(tag: &str, values: impl Iterator<Item = f64> + Clone) -> Summary_Value {
    const BUCKETS: usize = 30;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values.clone() {
        (low, high) = (low.min(value), high.max(value));
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let width = (high - low) / BUCKETS as f64;
    let mut buckets = vec![0.0; if width > 0.0 { BUCKETS } else { 1 }];
    for value in values {
        let place = if width > 0.0 { ((value - low) / width) as usize } else { 0 };
        let last = buckets.len() - 1;
        buckets[place.min(last)] += 1.0;
    }
    // The upper edges; the last one is the greatest value, whatever the rounding.
    let mut limits: Vec<f64> = (1..=buckets.len()).map(|i| low + width * i as f64).collect();
    limits[buckets.len() - 1] = high;
    let mut histogram = HistogramProto::new();
    histogram.set_min(low);
    histogram.set_max(high);
    histogram.set_num(count);
    histogram.set_sum(sum);
    histogram.set_sum_squares(squares);
    histogram.set_bucket_limit(limits);
    histogram.set_bucket(buckets);
    let mut value = tagged(tag);
    value.set_histo(histogram);
    value
}

pub fn text(tag: &str, markdown: &str) -> Summary_Value {
    let mut size = TensorShapeProto_Dim::new();
    size.set_size(1);
    let mut shape = TensorShapeProto::new();
    shape.set_dim(RepeatedField::from_vec(vec![size]));
    let mut tensor = TensorProto::new();
    tensor.set_dtype(DataType::DT_STRING);
    tensor.set_tensor_shape(shape);
    tensor.set_string_val(RepeatedField::from_vec(vec![markdown.as_bytes().to_vec()]));
    let mut value = tagged(tag);
    value.set_metadata(plugin("text", Vec::new()));
    value.set_tensor(tensor);
    value
}

fn plugin(name: &str, content: Vec<u8>) -> SummaryMetadata {
    let mut data = SummaryMetadata_PluginData::new();
    data.set_plugin_name(name.to_owned());
    data.set_content(content);
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(data);
    metadata.mut_unknown_fields().add_varint(DATA_CLASS, TENSOR);
    metadata
}

/// Which hyperparameters there are, and which scalars they are judged by.
pub fn experiment(
    seconds: f64,
    parameters: &[(&str, Parameter)],
    metrics: &[&str],
) -> Summary_Value {
    let parameter = |(name, value): &(&str, Parameter)| {
        let mut info = HParamInfo::new();
        info.set_name((*name).to_owned());
        info.set_field_type(match value {
            Parameter::Number(_) => ParameterType::DATA_TYPE_FLOAT64,
            Parameter::Text(_) => ParameterType::DATA_TYPE_STRING,
        });
        info
    };
    let metric = |tag: &&str| {
        let mut name = MetricName::new();
        name.set_tag((*tag).to_owned());
        let mut info = MetricInfo::new();
        info.set_name(name);
        info
    };
    let mut experiment = Experiment::new();
    experiment.set_time_created_secs(seconds);
    experiment.set_hparam_infos(parameters.iter().map(parameter).collect());
    experiment.set_metric_infos(metrics.iter().map(metric).collect());
    let mut data = HParamsPluginData::new();
    data.set_experiment(experiment);
    hparams("_hparams_/experiment", &data)
}

/// The values of the hyperparameters.
pub fn session_info(seconds: f64, parameters: &[(&str, Parameter)]) -> Summary_Value {
    let value = |(name, value): &(&str, Parameter)| {
        let mut message = Value::new();
        match value {
            Parameter::Number(number) => message.set_number_value(*number),
            Parameter::Text(text) => message.set_string_value(text.clone()),
        }
        ((*name).to_owned(), message)
    };
    let mut start = SessionStartInfo::new();
    start.set_start_time_secs(seconds);
    start.set_hparams(parameters.iter().map(value).collect());
    let mut data = HParamsPluginData::new();
    data.set_session_start_info(start);
    hparams("_hparams_/session_start_info", &data)
}

/// The end of a run that came to its end.
pub fn session_end(seconds: f64) -> Summary_Value {
    let mut end = SessionEndInfo::new();
    end.set_status(Status::STATUS_SUCCESS);
    end.set_end_time_secs(seconds);
    let mut data = HParamsPluginData::new();
    data.set_session_end_info(end);
    hparams("_hparams_/session_end_info", &data)
}

fn hparams(tag: &str, data: &HParamsPluginData) -> Summary_Value {
    let content = data.write_to_bytes().expect("a message of ours is complete");
    let mut empty = TensorProto::new();
    empty.set_dtype(DataType::DT_FLOAT);
    empty.set_tensor_shape(TensorShapeProto::new());
    let mut value = tagged(tag);
    value.set_metadata(plugin("hparams", content));
    value.set_tensor(empty);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_once() {
        let numbers: Vec<f64> = (0..1000).map(|i| f64::from(i) / 10.0).collect();
        let value = histogram("x", numbers.iter().copied());
        let histogram = value.get_histo();
        assert_eq!(histogram.get_bucket().iter().sum::<f64>(), 1000.0);
        assert_eq!(histogram.get_num(), 1000.0);
        assert_eq!((histogram.get_min(), histogram.get_max()), (0.0, 99.9));
        assert_eq!(histogram.get_bucket_limit().last(), Some(&99.9));
        let constant = super::histogram("x", [2.5; 4].into_iter());
        assert_eq!(constant.get_histo().get_bucket(), [4.0]);
        assert_eq!(constant.get_histo().get_bucket_limit(), [2.5]);
    }
}
