//! SEANet: the codec's stacks of convolutions between samples and steps, as streams.

use candle_core::{Result, Tensor};

use super::config::SeaNetSizes;
use super::conv::{Conv, Tail, Up, Window};
use super::weights::{Flaw, Source};

#[derive(Debug)]
enum Stage {
    Conv(Conv),
    Up(Up),
    /// Two convolutions whose output is added to their input.
    Residual(Conv, Conv),
}

/// A stack of convolutions, one way or the other.
#[derive(Debug)]
pub(super) struct SeaNet {
    stages: Vec<Stage>,
}

/// What a stream of rows through a [`SeaNet`] keeps from chunk to chunk.
#[derive(Debug)]
pub(super) struct SeaNetTails(Vec<[Tail; 2]>);

/// Builds stages under the numbers that the reference gives them, where activations count too.
struct Builder<'a> {
    source: &'a mut dyn Source,
    name: &'a str,
    sizes: &'a SeaNetSizes,
    number: usize,
    stages: Vec<Stage>,
}

impl Builder<'_> {
    fn conv(&mut self, window: Window, activated: bool) -> std::result::Result<(), Flaw> {
        self.number += usize::from(activated);
        let name = format!("{}.model.{}.conv", self.name, self.number);
        self.stages.push(Stage::Conv(Conv::load(self.source, &name, window, activated)?));
        self.number += 1;
        Ok(())
    }

    fn up(&mut self, channels: (usize, usize), stride: usize) -> std::result::Result<(), Flaw> {
        let name = format!("{}.model.{}.convtr", self.name, self.number + 1);
        self.stages.push(Stage::Up(Up::load(self.source, &name, channels, stride)?));
        self.number += 2;
        Ok(())
    }

    fn residuals(&mut self, channels: usize) -> std::result::Result<(), Flaw> {
        let hidden = channels / self.sizes.compress;
        if hidden == 0 {
            return Err("its residual blocks would be empty".into());
        }
        for depth in 0..self.sizes.n_residual_layers {
            let name = format!("{}.model.{}.block", self.name, self.number);
            let dilation = self.sizes.dilation_base.pow(depth as u32);
            let wide = Window {
                inputs: channels,
                outputs: hidden,
                kernel: self.sizes.residual_kernel_size,
                stride: 1,
                dilation,
            };
            let narrow = Window { inputs: hidden, outputs: channels, kernel: 1, stride: 1, dilation: 1 };
            let first = Conv::load(self.source, &format!("{name}.1.conv"), wide, true)?;
            let second = Conv::load(self.source, &format!("{name}.3.conv"), narrow, true)?;
            self.stages.push(Stage::Residual(first, second));
            self.number += 1;
        }
        Ok(())
    }
}

fn steady(inputs: usize, outputs: usize, kernel: usize) -> Window {
    Window { inputs, outputs, kernel, stride: 1, dilation: 1 }
}

impl SeaNet {
    /// From samples `[rows, 1]` to steps `[rows / hop, dimension]`.
    pub fn encoder(source: &mut dyn Source, name: &str, sizes: &SeaNetSizes) -> std::result::Result<Self, Flaw> {
        let mut builder = Builder { source, name, sizes, number: 0, stages: Vec::new() };
        let mut channels = sizes.n_filters;
        builder.conv(steady(1, channels, sizes.kernel_size), false)?;
        for &ratio in sizes.ratios.iter().rev() {
            builder.residuals(channels)?;
            let window =
                Window { inputs: channels, outputs: 2 * channels, kernel: 2 * ratio, stride: ratio, dilation: 1 };
            builder.conv(window, true)?;
            channels *= 2;
        }
        builder.conv(steady(channels, sizes.dimension, sizes.last_kernel_size), true)?;
        Ok(Self { stages: builder.stages })
    }

    /// From steps `[rows, dimension]` to samples `[rows × hop, 1]`.
    pub fn decoder(source: &mut dyn Source, name: &str, sizes: &SeaNetSizes) -> std::result::Result<Self, Flaw> {
        let mut builder = Builder { source, name, sizes, number: 0, stages: Vec::new() };
        let mut channels = sizes.n_filters << sizes.ratios.len();
        builder.conv(steady(sizes.dimension, channels, sizes.kernel_size), false)?;
        for &ratio in &sizes.ratios {
            builder.up((channels, channels / 2), ratio)?;
            channels /= 2;
            builder.residuals(channels)?;
        }
        builder.conv(steady(channels, 1, sizes.last_kernel_size), true)?;
        Ok(Self { stages: builder.stages })
    }

    pub fn tails(&self) -> SeaNetTails {
        SeaNetTails(self.stages.iter().map(|_| Default::default()).collect())
    }

    pub fn forward(&self, x: &Tensor, tails: &mut SeaNetTails) -> Result<Tensor> {
        let mut x = x.clone();
        for (stage, [first, second]) in self.stages.iter().zip(&mut tails.0) {
            x = match stage {
                Stage::Conv(conv) => conv.forward(&x, first)?,
                Stage::Up(up) => up.forward(&x, first)?,
                Stage::Residual(wide, narrow) => (narrow.forward(&wide.forward(&x, first)?, second)? + x)?,
            };
        }
        Ok(x)
    }
}
