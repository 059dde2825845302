//! temp
#![allow(clippy::unwrap_used)]
use evenburn_train::*;
use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
fn main() {
    let mut args = std::env::args().skip(1);
    let file = args.next().unwrap(); let run = args.next().unwrap(); let display = args.next().unwrap();
    let overrides = args.map(|a| config::parse_override(&a).unwrap()).collect();
    let launch = Launch { file: Some(file.into()), overrides, resume: Resume::Auto, run_dir: Some(run.into()) };
    let go = || -> Result<Summary, TrainError> {
        let (resolved, start) = launch.resolve()?;
        let corpus = evenburn_data::prepare(&resolved.config.data, std::path::Path::new("/tmp/tr/cache"), &())?;
        let plan_ = 0; let _ = plan_;
        let plan = evenburn_model::Plan::new(&resolved.config.model, resolved.config.norm.strategy())?;
        let m = estimate::memory(&plan, &resolved.config); println!("EST {} {m:?}", m.total());
        let stop = Arc::new(AtomicBool::new(false));
        let s2 = stop.clone();
        ctrlc_set(s2);
        Trainer::new(resolved, plan, corpus).start(start).with_run_log().stop_flag(stop).display(match display.as_str() { "tui" => Display::detect(), "lines" => Display::Lines, _ => Display::Silent }).run()
    };
    match go() { Ok(s) => println!("{s:?}"), Err(e) => { eprintln!("ERR {e}"); std::process::exit(if e.is_wrong_input() {2} else {1}) } }
}
fn ctrlc_set(s: Arc<AtomicBool>) { ctrlc::set_handler(move || s.store(true, Ordering::Relaxed)).unwrap(); }
