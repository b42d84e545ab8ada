// Episodes of a MiniWoB++ page, one after the other in one document.
(() => {
  const clock = window.agentenvClock;
  const LEFTOVERS = 3000; // milliseconds of the page's clock that the end of an episode is given to come to rest
  const STEP = 50;
  let lasting = null; // ids of timers that the document itself keeps going, episode or not
  let markup = null; // what stands in the page before an episode, if no script holds on to any of it
  let children = null; // what lies directly in its body then
  let variables = null; // what the variables of the page's scripts were when it had loaded

  const ids = () => clock.pending().map(([id]) => id);

  const plain = (value) => value === null || ['undefined', 'boolean', 'number', 'string'].includes(typeof value);
  // How to make such a value again; null where it is of another kind.
  const remaker = (value) => {
    if (plain(value)) return () => value;
    if (typeof value !== 'object' || !Object.values(value).every(plain)) return null;
    if (Array.isArray(value)) { const copy = [...value]; return () => [...copy]; }
    if (Object.getPrototypeOf(value) !== Object.prototype) return null;
    const copy = {...value};
    return () => ({...copy});
  };
  const remember = () => {
    lasting = new Set(ids());
    const wrap = document.getElementById('wrap');
    children = new Set(document.body.children);
    if (![...wrap.querySelectorAll('*')].some(agentenvState.held)) markup = wrap.innerHTML;
    variables = new Map();
    for (const name of agentenvState.names()) {
      variables.set(name, remaker(window[name]));
    }
  };
  // Sets back what can be: numbers, texts, and collections of them. What was not there goes. Names of timers stay: the page
  // will want to stop them.
  const restore = () => {
    for (const name of agentenvState.names()) {
      if (clock.named(window[name]) !== null) continue;
      const made = variables.get(name);
      if (made === undefined) delete window[name];
      else if (made !== null) window[name] = made();
    }
  };

  // Leaves nothing of an episode behind that MiniWoB++ would: the focus, counters, marks on elements.
  const forget = async () => {
    if (core.EP_TIMER !== null) core.endEpisode(0);
    if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
    for (let spent = 0; spent < LEFTOVERS && ids().some((id) => !lasting.has(id)); spent += STEP) {
      await clock.run(STEP);
    }
    window.scrollTo(0, 0);
    WOB_EPISODE_ID = 0;
    core.wob_latest = '-';
    core.wob_scores = [];
    core.cover_div.remove();
    core.cover_div = null;
    for (const id of ['reward-last', 'reward-avg']) {
      document.getElementById(id).removeAttribute('style');
      document.getElementById(id).textContent = '-';
    }
    document.getElementById('episode-id').textContent = '0';
    for (const marked of document.querySelectorAll('[data-tampered]')) marked.removeAttribute('data-tampered');
    core.startEpisode();
    restore();
    if (markup === null) return;
    const wrap = document.getElementById('wrap');
    // jQuery lets go of widgets, where there are any.
    if (window.jQuery) jQuery(wrap).empty();
    document.body.removeAttribute('style');
    for (const child of [...document.body.children]) {
      if (children.has(child) || child === core.cover_div) continue;
      if (window.jQuery) jQuery(child).remove();
      else child.remove();
    }
    wrap.innerHTML = markup;
  };

  const over = () => WOB_DONE_GLOBAL;

  // The score board stays out of sight, and nothing moves by itself but by the page's clock.
  const style = new CSSStyleSheet();
  style.replaceSync(`
    #reward-display, #click-canvas { display: none !important; }
    * { transition: none !important; animation: none !important; caret-animation: manual; }
  `);
  document.adoptedStyleSheets.push(style);

  window.agentenvEpisode = {
    // Starts an episode. Says whether something of an earlier one still goes on, so that the page must be loaded anew.
    start: async ({seed, mode, unix}) => {
      clock.own();
      if (lasting === null) remember();
      else await forget();
      const before = ids().filter((id) => !lasting.has(id));
      clock.rephase();
      clock.set(unix);
      Math.seedrandom(seed);
      core.setDataMode(mode);
      core.startEpisodeReal();
      const after = new Set(ids());
      clock.next();
      return {haunted: before.some((id) => after.has(id))};
    },
    // Whether this document has an episode.
    begun: () => lasting !== null,
    over,
    // What there is to know of an episode.
    read: () => {
      const said = core.getUtterance();
      return {
        over: WOB_DONE_GLOBAL,
        reward: WOB_REWARD_GLOBAL,
        raw: WOB_RAW_REWARD_GLOBAL,
        instruction: typeof said === 'string' ? said : said.utterance,
        seconds: (Date.now() - core.ept0) / 1000,
      };
    },
    // Lets the page's clock run on after an action.
    act: (times) => clock.act({...times, stop: over}),
    // Lets it run.
    run: (milliseconds) => clock.act({pace: milliseconds, patience: 0, longest: 0, stop: over}),
  };
})();
