//! The novelty score in the file.

use half::f16;
use safetensors::tensor::Dtype;

use super::MOST_SCORE;
use crate::calibrate::novelty::{
    COMBINED, Density, Distance, Form, KNOTS, Layer, LengthCurve, LengthGroups, MOST_K,
    MOST_NEIGHBOURS, Mahalanobis, Neighbours, Novelty, NoveltyScore, Space, Standard,
};
use crate::model::EncoderConfig;
use crate::store::{TensorFile, Tensors};

/// Is there where the last layer is of the encoder before it was fine-tuned.
const REFERENCE: &str = "novelty.reference_encoder";

/// The usual entropy of a prediction, where it is part of the score.
const ENTROPY: &str = "novelty.entropy";

/// What is measured where the entropy is part of the score.
pub(super) const BESIDE_ENTROPY: Form = Form::Mahalanobis { relative: true, normalised: false };

const PLAIN: [NoveltyScore; 4] = [
    NoveltyScore::Energy,
    NoveltyScore::MaxSoftmax,
    NoveltyScore::Entropy,
    NoveltyScore::MutualInformation,
];

fn reference_of(method: &str) -> String {
    format!("novelty.{method}.reference")
}

fn layer_of(index: usize, part: &str) -> String {
    format!("novelty.layer.{index}.{part}")
}

pub(super) fn put(tensors: &mut Tensors, novelty: &Novelty) {
    let Novelty { score, reference, alarm } = novelty;
    tensors.put_f64(&reference_of(score.name()), &reference.groups().concat());
    if !reference.between().is_empty() {
        let rows: Vec<i64> = reference.groups().iter().map(|group| group.len() as i64).collect();
        let tokens: Vec<i64> = reference.between().iter().map(|&tokens| tokens.into()).collect();
        tensors.put_i64("novelty.groups.rows", &rows);
        tensors.put_i64("novelty.groups.tokens", &tokens);
    }
    tensors.put_f64("novelty.alarm", &[*alarm]);
    if let NoveltyScore::Distance(distance) = score {
        for (index, layer) in distance.layers.iter().enumerate() {
            put_layer(tensors, index, layer);
        }
        if distance.reference {
            tensors.put_f64(REFERENCE, &[1.0]);
        }
        if let Some(Standard { centre, scale }) = distance.entropy {
            tensors.put_f64(ENTROPY, &[centre, scale]);
        }
        if let Some(lengths) = &distance.lengths {
            let LengthCurve { mean, deviation } = &**lengths;
            let both = mean.iter().chain(deviation).flat_map(|value| value.to_le_bytes());
            tensors.put("novelty.length", Dtype::F64, &[2, KNOTS], both.collect());
        }
    }
}

fn put_layer(tensors: &mut Tensors, index: usize, layer: &Layer) {
    let name = |part: &str| layer_of(index, part);
    let Layer { space, width, standard: Standard { centre, scale } } = layer;
    match space {
        Space::Mahalanobis(Mahalanobis { mean_d, within, class_kd, background }) => {
            tensors.put_f32(&name("mean"), &[*width], mean_d);
            tensors.put_f32(&name("within"), &[within.len()], within);
            tensors.put_f32(&name("classes"), &[class_kd.len() / width, *width], class_kd);
            if let Some(background) = background {
                tensors.put_f32(&name("background"), &[background.len()], background);
            }
        }
        Space::Neighbours(Neighbours { row_nd, k }) => {
            let halves = row_nd.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
            tensors.put(&name("rows"), Dtype::F16, &[row_nd.len() / width, *width], halves);
            tensors.put_f64(&name("neighbour"), &[*k as f64]);
        }
        Space::Density(Density { mean_kd, root_kt, constant_k }) => {
            let classes = constant_k.len();
            tensors.put_f32(&name("means"), &[classes, *width], mean_kd);
            tensors.put_f32(&name("roots"), &[classes, root_kt.len() / classes], root_kt);
            tensors.put_f64(&name("constants"), constant_k);
        }
    }
    tensors.put_f64(&name("standard"), &[*centre, *scale]);
}

pub(super) fn read(
    file: &TensorFile<'_>,
    encoder: &EncoderConfig,
) -> Result<Option<Novelty>, String> {
    let combined = file.has(&reference_of(COMBINED)).then_some((BESIDE_ENTROPY, COMBINED));
    let alone = || Form::ALL.into_iter().find(|(_, name)| file.has(&reference_of(name)));
    let form = combined.or_else(alone);
    let plain = || PLAIN.into_iter().find(|score| file.has(&reference_of(score.name())));
    let score = match form {
        Some((form, _)) => {
            let entropy = combined.map(|_| read_standard(file, ENTROPY)).transpose()?;
            let distance = read_distance(file, encoder, form)?;
            NoveltyScore::Distance(Distance { entropy, ..distance })
        }
        None => match plain() {
            Some(score) => score,
            None => return Ok(None),
        },
    };
    let reference = read_groups(file, &reference_of(score.name()))?;
    let [alarm] = file.f64s("novelty.alarm")?;
    if !(0.0..=1.0).contains(&alarm) {
        return Err(format!("`novelty.alarm` is {alarm:e}, which is not a p-value"));
    }
    Ok(Some(Novelty { score, reference, alarm }))
}

/// Scores by length, ascending within each group.
fn read_groups(file: &TensorFile<'_>, name: &str) -> Result<LengthGroups, String> {
    let scores = file.f64(name)?;
    let wrong = || format!("`{name}` is not finite and ascending");
    let groups = "novelty.groups.rows";
    if !file.has(groups) {
        return LengthGroups::from_parts(Vec::new(), vec![scores]).ok_or_else(wrong);
    }
    let integers = |name: &str| -> Result<Vec<i64>, String> {
        let (_, values) = file.values(name, Dtype::I64)?;
        Ok(values.into_iter().map(i64::from_le_bytes).collect())
    };
    let mut rest = &*scores;
    let mut parts = Vec::new();
    for count in integers(groups)? {
        let cut = usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count));
        let (own, others) = cut.ok_or_else(|| format!("`{groups}` does not fit the scores"))?;
        parts.push(own.to_vec());
        rest = others;
    }
    let tokens = "novelty.groups.tokens";
    let bounds = integers(tokens)?.into_iter().map(|bound| u32::try_from(bound).ok());
    let bounds = bounds.collect::<Option<Vec<u32>>>();
    let fits = |bounds: &Vec<u32>| {
        rest.is_empty() && bounds.len() + 1 == parts.len() && bounds.is_sorted_by(|a, b| a < b)
    };
    let Some(bounds) = bounds.filter(fits) else {
        return Err(format!("`{tokens}` and `{groups}` do not fit the scores"));
    };
    LengthGroups::from_parts(bounds, parts).ok_or_else(wrong)
}

fn read_distance(
    file: &TensorFile<'_>,
    encoder: &EncoderConfig,
    form: Form,
) -> Result<Distance, String> {
    let mut layers = Vec::new();
    while file.has(&layer_of(layers.len(), "standard")) {
        layers.push(read_layer(file, layers.len(), form)?);
    }
    if let Some(layer) = layers.iter().find(|layer| layer.width != encoder.hidden_size) {
        let (found, width) = (layer.width, encoder.hidden_size);
        return Err(format!(
            "a novelty layer has width {found}, but the hidden states have width {width}"
        ));
    }
    let reference = file.has(REFERENCE);
    let before = usize::from(reference);
    let (least, most) = (1 + before, form.spaces(encoder.num_hidden_layers + 1) + before);
    if !(least..=most).contains(&layers.len()) {
        return Err(format!("{} novelty layers, of {least} to {most}", layers.len()));
    }
    let name = "novelty.length";
    let lengths = match file.has(name) {
        true => {
            let values = file.finite_f64(name, 2 * KNOTS)?;
            let fits = |value: &f64| value.abs() <= MOST_SCORE;
            let (mean, deviation) = values.split_at(KNOTS);
            if !values.iter().all(fits) || !deviation.iter().all(|&one| one > 0.0) {
                return Err(format!("`{name}` has an invalid mean or deviation"));
            }
            let of = |half: &[f64]| std::array::from_fn(|knot| half[knot]);
            Some(Box::new(LengthCurve { mean: of(mean), deviation: of(deviation) }))
        }
        false => None,
    };
    Ok(Distance { form, layers, reference, lengths, entropy: None })
}

fn read_layer(file: &TensorFile<'_>, index: usize, form: Form) -> Result<Layer, String> {
    let name = |part: &str| layer_of(index, part);
    let (width, space) = match form {
        Form::Mahalanobis { relative, .. } => read_mahalanobis(file, &name, relative)?,
        Form::Neighbours => read_neighbours(file, &name("rows"), &name("neighbour"))?,
        Form::Density => read_density(file, &name)?,
    };
    let standard = read_standard(file, &name("standard"))?;
    Ok(Layer { space, width, standard })
}

fn read_standard(file: &TensorFile<'_>, name: &str) -> Result<Standard, String> {
    let [centre, scale] = file.f64s(name)?;
    if !(centre.abs() <= MOST_SCORE && scale > 0.0 && scale <= MOST_SCORE) {
        return Err(format!("`{name}` has {centre:e} and {scale:e}"));
    }
    Ok(Standard { centre, scale })
}

fn read_mahalanobis(
    file: &TensorFile<'_>,
    name: &dyn Fn(&str) -> String,
    relative: bool,
) -> Result<(usize, Space), String> {
    let numbers = |part: &str, count: Option<usize>| -> Result<Vec<f32>, String> {
        let (_, numbers) = file.finite_f32(&name(part))?;
        match count.is_none_or(|count| numbers.len() == count) {
            true => Ok(numbers),
            false => Err(format!("`{}` has the wrong number of values", name(part))),
        }
    };
    let mean_d = numbers("mean", None)?;
    let width = mean_d.len();
    let triangle = Some(width * (width + 1) / 2);
    let class_kd = numbers("classes", None)?;
    if width == 0 || class_kd.is_empty() || !class_kd.len().is_multiple_of(width) {
        return Err(format!("`{}` does not fit the width {width}", name("classes")));
    }
    let within = numbers("within", triangle)?;
    let background = relative.then(|| numbers("background", triangle)).transpose()?;
    Ok((width, Space::Mahalanobis(Mahalanobis { mean_d, within, class_kd, background })))
}

fn read_neighbours(
    file: &TensorFile<'_>,
    name: &str,
    neighbour: &str,
) -> Result<(usize, Space), String> {
    let (shape, values) = file.values(name, Dtype::F16)?;
    let row_nd: Vec<f32> = values.into_iter().map(|two| f16::from_le_bytes(two).to_f32()).collect();
    let &[rows, width] = &*shape else {
        return Err(format!("`{name}` is not f16 [n, d]"));
    };
    // A normalised feature is nowhere above one.
    let fits = row_nd.iter().all(|x| x.abs() <= 1.0);
    if rows == 0 || width == 0 || rows > MOST_NEIGHBOURS || !fits {
        return Err(format!("`{name}` is not 1 to {MOST_NEIGHBOURS} normalised features"));
    }
    let k = file.count(neighbour, MOST_K)?;
    if k == 0 {
        return Err(format!("`{neighbour}` is 0"));
    }
    Ok((width, Space::Neighbours(Neighbours { row_nd, k })))
}

fn read_density(
    file: &TensorFile<'_>,
    name: &dyn Fn(&str) -> String,
) -> Result<(usize, Space), String> {
    let (shape, mean_kd) = file.finite_f32(&name("means"))?;
    let &[classes, width] = &*shape else {
        return Err(format!("`{}` is not f32 [k, d]", name("means")));
    };
    if mean_kd.is_empty() {
        return Err(format!("`{}` is empty", name("means")));
    }
    let root_kt = file.matrix(&name("roots"), Some(classes), width * (width + 1) / 2)?;
    let constant_k = file.finite_f64(&name("constants"), classes)?;
    if constant_k.iter().any(|constant| constant.abs() > MOST_SCORE) {
        return Err(format!("`{}` has an invalid number", name("constants")));
    }
    Ok((width, Space::Density(Density { mean_kd, root_kt, constant_k })))
}
