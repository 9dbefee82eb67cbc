//! `affluent insights`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{InsightsOptions, LineOptions, SilentObserver};
use affluent_model::Error;
use affluent_profiles::purchases::calendar::parse_day;
use affluent_profiles::purchases::orders::FreeOrders;

use crate::arguments::{InsightsArguments, Shared};
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::screen::Screen;
use crate::render::{insights, insights_page};
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &InsightsArguments) -> Outcome {
    let options = options(arguments)?;
    let project = project::load(shared)?;
    let wired = wire::open(&project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let found = wired.engine.insights(&options).await?;
    if let Some(path) = &arguments.html {
        insights_page::page(&project.plan.project.name, &found).write(path)?;
        screen.say(&format!("wrote {}", path.display()));
        return Ok(Exit::Done);
    }
    screen.result(&found, || insights::insights(&found))?;
    Ok(Exit::Done)
}

fn options(arguments: &InsightsArguments) -> Result<InsightsOptions, Error> {
    let end_day = arguments.as_of.as_deref().map(|text| {
        parse_day(text)
            .ok_or_else(|| Error::configuration("E0829", format!("`{text}` is not a date")).help("write a day as `2026-06-30`"))
    });
    let lines = LineOptions {
        stream: arguments.from.clone(),
        category: arguments.category.clone(),
        units: arguments.units.clone(),
        revenue: arguments.revenue.clone(),
    };
    let free_orders = if arguments.count_free_orders { FreeOrders::Count } else { FreeOrders::LeaveOut };
    Ok(InsightsOptions { end_day: end_day.transpose()?, free_orders, bins: arguments.bins, lines })
}
