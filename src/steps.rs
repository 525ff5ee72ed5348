//! The steps as commands: `tcp-pitfalls step 3 ADDR` and `03_thread_per_conn serve ADDR` start the same server.

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::chapter_01::announce::log;
#[cfg(feature = "async")]
use crate::chapter_09;
use crate::{chapter_01, chapter_02, chapter_03, chapter_04, chapter_05, chapter_06, chapter_07, chapter_08};

/// What `serve` takes: an address, whether to run a pitfall instead of the step, and the step's own options.
#[derive(Args, Clone, Debug)]
pub struct Serve<O: Args, P: ValueEnum + Send + Sync + 'static> {
    /// Where to listen.
    #[arg(
        help = "Where to listen: HOST:PORT, [V6]:PORT, or :PORT for every interface",
        default_value = "127.0.0.1:8080"
    )]
    pub addr: String,
    /// Run the server with a mistake in it: this chapter's first, or the one named
    #[arg(long, value_name = "NAME", require_equals = true)]
    pub pitfall: Option<Option<P>>,
    /// The step's own options.
    #[command(flatten)]
    pub options: O,
}

impl<O: Args, P: ValueEnum + Send + Sync> Serve<O, P> {
    /// The pitfall to run, if one is asked for. Says on standard error which one that is.
    fn pitfall(&self) -> Result<Option<P>> {
        let named = |pitfall: &&P| pitfall.to_possible_value().is_some_and(|value| value.get_name() == self.addr);
        if P::value_variants().iter().any(|pitfall| named(&pitfall)) {
            bail!("\"{0}\" is not an address but a pitfall. Write --pitfall={0}", self.addr);
        }
        let pitfall = match &self.pitfall {
            None => return Ok(None),
            Some(None) => P::value_variants().first().cloned(),
            Some(named) => named.clone(),
        };
        if let Some(value) = pitfall.as_ref().and_then(P::to_possible_value) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            log(format_args!("running with the mistake {}: {help}", value.get_name()));
        }
        Ok(pitfall)
    }
}

/// For a step that has nothing to set.
#[derive(Args, Clone, Copy, Debug)]
pub struct NoOptions {}

/// One of the steps.
#[derive(Clone, Debug, Subcommand)]
#[expect(missing_docs, reason = "the chapters say what each step is")]
pub enum Step {
    #[command(name = "1")]
    One(Serve<NoOptions, chapter_01::pitfall::Pitfall>),
    #[command(name = "2")]
    Two(Serve<chapter_02::server::Options, chapter_02::pitfall::Pitfall>),
    #[command(name = "3")]
    Three(Serve<chapter_03::server::Options, chapter_03::pitfall::Pitfall>),
    #[command(name = "4")]
    Four(Serve<chapter_03::server::Options, chapter_04::pitfall::Pitfall>),
    #[command(name = "5")]
    Five(Serve<chapter_05::server::Options, chapter_05::pitfall::Pitfall>),
    #[command(name = "6")]
    Six(Serve<chapter_06::server::Options, chapter_06::pitfall::Pitfall>),
    #[command(name = "7")]
    Seven(Serve<chapter_07::server::Options, chapter_07::pitfall::Pitfall>),
    #[command(name = "8")]
    Eight(Serve<chapter_08::server::Options, chapter_08::pitfall::Pitfall>),
    #[cfg(feature = "async")]
    #[command(name = "9")]
    Nine(Serve<chapter_09::server::Options, chapter_09::pitfall::Pitfall>),
}

impl Step {
    /// Runs the step's server, or its pitfall. Returns only when the server ends.
    pub fn run(&self) -> Result<()> {
        match self {
            Step::One(serve) => match serve.pitfall()? {
                None => chapter_01::server::run(&serve.addr),
                Some(pitfall) => chapter_01::pitfall::run(&serve.addr, pitfall),
            },
            Step::Two(serve) => match serve.pitfall()? {
                None => chapter_02::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_02::pitfall::run(&serve.addr, pitfall),
            },
            Step::Three(serve) => match serve.pitfall()? {
                None => chapter_03::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_03::pitfall::run(&serve.addr, pitfall, &serve.options),
            },
            Step::Four(serve) => match serve.pitfall()? {
                None => chapter_04::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_04::pitfall::run(&serve.addr, pitfall, &serve.options),
            },
            Step::Five(serve) => match serve.pitfall()? {
                None => chapter_05::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_05::pitfall::run(&serve.addr, pitfall, &serve.options.connections),
            },
            Step::Six(serve) => match serve.pitfall()? {
                None => chapter_06::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_06::pitfall::run(&serve.addr, pitfall, &serve.options.lines),
            },
            Step::Seven(serve) => match serve.pitfall()? {
                None => chapter_07::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_07::pitfall::run(&serve.addr, pitfall, &serve.options),
            },
            Step::Eight(serve) => match serve.pitfall()? {
                None => chapter_08::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_08::pitfall::run(&serve.addr, pitfall, &serve.options),
            },
            #[cfg(feature = "async")]
            Step::Nine(serve) => match serve.pitfall()? {
                None => chapter_09::server::run(&serve.addr, &serve.options),
                Some(pitfall) => chapter_09::pitfall::run(&serve.addr, pitfall),
            },
        }
    }
}
