//! What is wrong, for the readiness probe and for the status.

use super::Daemon;

impl Daemon {
    /// Tells the readiness probe what keeps packets from being balanced. A registry that fails or
    /// a configuration that is refused does not: what was in force goes on.
    pub(super) fn publish_readiness(&mut self) {
        let problems = self.serving_problems();
        self.readiness.send_if_modified(|before| {
            let changed = *before != problems;
            *before = problems;
            changed
        });
    }

    /// All that somebody should look at.
    pub(super) fn problems(&self) -> Vec<String> {
        let registries = self.registries.iter().filter_map(|(service, registry)| {
            Some(format!("registry of `{service}`: {}", registry.error.as_ref()?))
        });
        let refusal = self.config.refusal.as_ref();
        let refusal = refusal.map(|error| format!("the configuration file is refused: {error}"));
        let idle = self.control.services().values().filter(|service| {
            let views = self.control.views_of(service);
            let is_closed = views.is_empty() && service.is_closed();
            !is_closed && !views.iter().any(|view| view.serving_weight() > 0)
        });
        let idle = idle.map(|service| format!("`{}` has no backend for new flows", service.name));
        let barred = self.control.views().filter_map(|view| {
            let way = self.ways.get(&view.name.address)?.as_ref().ok()?;
            let forward = self.control.services().get(&view.name.service)?.forward;
            let fault = way.via.carries(forward).err()?;
            Some(format!("`{}` gets no new flows: {fault}", view.name))
        });
        let own = self.own_address_problems();
        let path = self.check_path_problem();
        let cut_off = self.control.is_cut_off().then(|| {
            "no backend answers checks any more: that is taken for this machine's own trouble"
                .to_owned()
        });
        let others = registries.chain(refusal).chain(idle).chain(barred).chain(own);
        let others = others.chain(path).chain(cut_off).chain(self.agent_problems());
        self.serving_problems().into_iter().chain(others).collect()
    }

    fn serving_problems(&self) -> Vec<String> {
        let unattached = self.interfaces.iter().filter(|interface| interface.mode.is_none());
        let interfaces = unattached.map(|interface| match &interface.problem {
            Some(problem) => problem.clone(),
            None => format!("interface `{}` has no XDP program", interface.name),
        });
        interfaces.chain(self.commit_problem.clone()).collect()
    }
}
