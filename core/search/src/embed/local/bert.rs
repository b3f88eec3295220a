//! BERT: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2018, over Vaswani et al., "Attention Is All You Need",
//! 2017, section 3. The names of the weights are those of the library transformers.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module as _, VarBuilder, embedding, layer_norm, linear};

use super::settings::{Activation, Shape};

/// Where no token is, the share of attention that goes there: e to the power of this is zero in 32-bit floats.
const NO_TOKEN: f32 = -1e9;

/// The network.
pub struct Bert {
    words: Embedding,
    positions: Embedding,
    kind: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Bert {
    /// Takes the weights out of a file, whose shapes must be those of the settings.
    pub fn load(weights: VarBuilder<'_>, shape: &Shape) -> Result<Self> {
        // Models that were saved with something on top have them one level deeper.
        let weights = if weights.contains_tensor("bert.embeddings.word_embeddings.weight") {
            weights.pp("bert")
        } else {
            weights
        };
        let hidden = shape.hidden_size;
        let inputs = weights.pp("embeddings");
        let kinds = embedding(shape.type_vocab_size, hidden, inputs.pp("token_type_embeddings"))?;
        Ok(Self {
            words: embedding(shape.vocab_size, hidden, inputs.pp("word_embeddings"))?,
            positions: embedding(shape.max_position_embeddings, hidden, inputs.pp("position_embeddings"))?,
            // One text is embedded at a time, so that all tokens are of the first kind.
            kind: kinds.embeddings().get(0)?,
            norm: layer_norm(hidden, shape.layer_norm_eps, inputs.pp("LayerNorm"))?,
            layers: (0..shape.num_hidden_layers)
                .map(|layer| Layer::load(weights.pp(format!("encoder.layer.{layer}")), shape))
                .collect::<Result<_>>()?,
        })
    }

    /// Runs over texts of `tokens`, shape (texts, length), whose `mask` of the same shape is 1 where there is a token and 0 where a
    /// shorter text was filled up. Returns (texts, length, hidden).
    pub fn run(&self, tokens: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (_, length) = tokens.dims2()?;
        let places = Tensor::from_iter(0..length as u32, tokens.device())?;
        let words = self.words.forward(tokens)?;
        let sum = words.broadcast_add(&self.positions.forward(&places)?)?.broadcast_add(&self.kind)?;
        // (texts, 1, 1, length), to be added for every head and every token that looks.
        let bias = mask.affine(-f64::from(NO_TOKEN), f64::from(NO_TOKEN))?.unsqueeze(1)?.unsqueeze(1)?;
        let start = self.norm.forward(&sum)?;
        self.layers.iter().try_fold(start, |states, layer| layer.run(&states, &bias))
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
    out: Linear,
    out_norm: LayerNorm,
    wide: Linear,
    activation: Activation,
    narrow: Linear,
    narrow_norm: LayerNorm,
}

impl Layer {
    fn load(weights: VarBuilder<'_>, shape: &Shape) -> Result<Self> {
        let (hidden, wide) = (shape.hidden_size, shape.intermediate_size);
        let attention = weights.pp("attention");
        Ok(Self {
            query: linear(hidden, hidden, attention.pp("self.query"))?,
            key: linear(hidden, hidden, attention.pp("self.key"))?,
            value: linear(hidden, hidden, attention.pp("self.value"))?,
            heads: shape.num_attention_heads,
            out: linear(hidden, hidden, attention.pp("output.dense"))?,
            out_norm: layer_norm(hidden, shape.layer_norm_eps, attention.pp("output.LayerNorm"))?,
            wide: linear(hidden, wide, weights.pp("intermediate.dense"))?,
            activation: shape.hidden_act,
            narrow: linear(wide, hidden, weights.pp("output.dense"))?,
            narrow_norm: layer_norm(hidden, shape.layer_norm_eps, weights.pp("output.LayerNorm"))?,
        })
    }

    fn run(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let seen = self.out.forward(&self.attend(states, bias)?)?;
        let states = self.out_norm.forward(&(seen + states)?)?;
        let wide = self.wide.forward(&states)?;
        let wide = match self.activation {
            Activation::Gelu => wide.gelu_erf()?,
            Activation::GeluNew => wide.gelu()?,
            Activation::Relu => wide.relu()?,
        };
        self.narrow_norm.forward(&(self.narrow.forward(&wide)? + states)?)
    }

    fn attend(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (texts, length, hidden) = states.dims3()?;
        let width = hidden / self.heads;
        let by_head = |linear: &Linear| {
            linear.forward(states)?.reshape((texts, length, self.heads, width))?.transpose(1, 2)?.contiguous()
        };
        let query = (by_head(&self.query)? / (width as f64).sqrt())?;
        let scores = query.matmul(&by_head(&self.key)?.t()?)?.broadcast_add(bias)?;
        let shares = candle_nn::ops::softmax_last_dim(&scores)?;
        shares.matmul(&by_head(&self.value)?)?.transpose(1, 2)?.reshape((texts, length, hidden))
    }
}

/// Averages what `mask`, of shape (texts, length), says are tokens: from (texts, length, hidden) to (texts, hidden).
pub fn mean(states: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let counts = mask.sum_keepdim(1)?;
    states.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?.broadcast_div(&counts)
}

/// Brings each row to length one; one of length zero stays.
pub fn normalise(rows: &Tensor) -> Result<Tensor> {
    let lengths = rows.to_dtype(DType::F32)?.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    rows.broadcast_div(&lengths)
}
