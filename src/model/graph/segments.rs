//! A pass for training that keeps the inputs of some layers alone, and computes these layers again in its backward pass.
//!
//! Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016). Candle's backward pass keeps
//! every activation of a graph, so each part is a graph of its own, which begins at a copy of what enters it.

use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

use super::Graph;
use crate::compute::ops::OnBatch;
use crate::model::places::Places;

/// What is done with the gradients that one graph has found.
pub type Gather<'a> = &'a mut dyn FnMut(&GradStore) -> Result<()>;

/// A pass in parts.
#[derive(Debug)]
pub struct Segments<'a> {
    graph: &'a Graph,
    on: OnBatch<'a>,
    noise: Places<'a>,
    parts: Vec<Part>,
    hidden_pd: Tensor,
}

#[derive(Debug)]
struct Part {
    /// What enters it; nothing where it begins at the embeddings, or at what is not trained.
    input: Option<Var>,
    /// What leaves it, with its graph; nothing where that is made again.
    output: Option<Tensor>,
    layers: Range<usize>,
}

impl<'a> Segments<'a> {
    /// Runs it; every layer whose number divides by `every` is computed again, and none where that is 0.
    pub(in crate::model) fn new(
        graph: &'a Graph,
        on: OnBatch<'a>,
        noise: Places<'a>,
        every: usize,
    ) -> Result<Self> {
        let hidden_pd = graph.embed(&on, &noise)?;
        let mut pass = Self { graph, on, noise, parts: Vec::new(), hidden_pd };
        if every == 0 {
            pass.hidden_pd = pass.through(&pass.hidden_pd, 0..pass.depth())?;
            return Ok(pass);
        }
        if pass.hidden_pd.track_op() {
            let output = Some(pass.hidden_pd.clone());
            pass.parts.push(Part { input: None, output, layers: 0..0 });
        }
        let mut first = 0;
        while first < pass.depth() {
            let again = first.is_multiple_of(every);
            let end = (first + 1..pass.depth())
                .find(|layer| again || layer.is_multiple_of(every))
                .unwrap_or(pass.depth());
            pass.run(first..end, again)?;
            first = end;
        }
        // The loss has a graph of its own too.
        pass.hidden_pd = Var::from_tensor(&pass.hidden_pd.detach())?.into_inner();
        Ok(pass)
    }

    fn depth(&self) -> usize {
        self.graph.config.num_hidden_layers
    }

    fn through(&self, x_pd: &Tensor, layers: Range<usize>) -> Result<Tensor> {
        let run = |x_pd: Tensor, index| self.graph.run(index, &x_pd, &self.on, &self.noise);
        layers.into_iter().try_fold(x_pd.clone(), run)
    }

    fn run(&mut self, layers: Range<usize>, again: bool) -> Result<()> {
        let tracked = !self.parts.is_empty();
        let input = tracked.then(|| Var::from_tensor(&self.hidden_pd.detach())).transpose()?;
        let x_pd = input.as_ref().map_or(&self.hidden_pd, |input| input.as_tensor()).clone();
        let output = self.through(&x_pd, layers.clone())?;
        self.hidden_pd = output.detach();
        // Below what is trained there is no graph, and nothing to come back to.
        if output.track_op() {
            let output = (!again).then_some(output);
            let input = match input {
                Some(input) => Some(input),
                // Kept as it is, for the layers that read it again.
                None if again => Some(Var::from_tensor(&x_pd.detach())?),
                None => None,
            };
            self.parts.push(Part { input, output, layers });
        }
        Ok(())
    }

    /// The operations on its batch.
    pub fn on(&self) -> &OnBatch<'a> {
        &self.on
    }

    /// What leaves the last layer, `[p, d]`: a node of the loss's graph.
    pub fn hidden(&self) -> &Tensor {
        &self.hidden_pd
    }

    /// Goes back from the gradients of the loss; `gather` takes those of the parameters, of each part.
    pub fn backward(self, of_loss: &GradStore, gather: Gather<'_>) -> Result<()> {
        gather(of_loss)?;
        // Candle's gradients are nodes of a graph themselves, of which the next part would find gradients again.
        let mut gradient = match of_loss.get(&self.hidden_pd) {
            Some(gradient) if !self.parts.is_empty() => gradient.detach(),
            _ => return Ok(()),
        };
        for Part { input, output, layers } in self.parts.iter().rev() {
            let output = match (output, input) {
                (Some(output), _) => output.clone(),
                (None, Some(input)) => self.through(input.as_tensor(), layers.clone())?,
                (None, None) => continue,
            };
            let found = (output * &gradient)?.sum_all()?.backward()?;
            gather(&found)?;
            match input.as_ref().and_then(|input| found.get(input.as_tensor())) {
                Some(of_input) => gradient = of_input.detach(),
                None => break,
            }
        }
        Ok(())
    }
}
