// What oracles say: one action at a time, for whatever state the page is in. An oracle is a function that looks at the
// page and returns its next action, or nothing where none is left to do.
(() => {
  const oracles = {};
  let memory = {};
  let clicked = []; // elements, in this episode
  let pointer = null; // where the mouse was moved to last
  document.addEventListener('click', (event) => { clicked.push(event.target); }, true);
  document.addEventListener('mousemove', (event) => { pointer = [event.pageX, event.pageY]; }, true);

  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => (typeof selector === 'string' ? root.querySelector(selector) : selector);
  const text = (element) => element.textContent.replace(/\s+/g, ' ').trim();
  const withText = (selector, wanted, root = document) => all(selector, root).find((element) => text(element) === wanted);
  const shown = (element) => element.checkVisibility({checkVisibilityCSS: true}) && element.getClientRects().length > 0;
  const instruction = () => {
    const said = core.getUtterance();
    return typeof said === 'string' ? said : said.utterance;
  };
  const bold = () => all('#query .bold').map((element) => element.textContent);
  const match = (pattern) => (instruction().match(pattern) || []).slice(1);

  // What can be seen of an element: the largest of its rectangles, less what lies outside of the screen or of what it
  // scrolls in. Nothing, if it cannot be seen.
  const seenOf = (element) => {
    const clip = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
    for (let over = element.parentElement; over && over !== document.body; over = over.parentElement) {
      if (getComputedStyle(over).overflowY === 'visible') continue;
      const area = over.getBoundingClientRect();
      for (const side of ['left', 'top']) clip[side] = Math.max(clip[side], area[side]);
      for (const side of ['right', 'bottom']) clip[side] = Math.min(clip[side], area[side]);
    }
    let best = null;
    for (const rect of element.getClientRects()) {
      const left = Math.max(rect.left, clip.left), top = Math.max(rect.top, clip.top);
      const width = Math.min(rect.right, clip.right) - left, height = Math.min(rect.bottom, clip.bottom) - top;
      if (width >= 1 && height >= 1 && (!best || width * height > best.width * best.height)) best = {left, top, width, height};
    }
    return best;
  };
  const inside = (x, y) => x >= 0 && y >= 0 && x < innerWidth && y < innerHeight;
  const hits = (element, x, y) => {
    const found = inside(x, y) ? document.elementFromPoint(x, y) : null;
    return found !== null && (found === element || element.contains(found));
  };
  // A whole pixel at which the element is what is clicked on: the middle of what can be seen of it, or the nearest.
  const place = (element) => {
    const box = seenOf(element);
    if (box === null) return null;
    const x = Math.floor(box.left + box.width / 2), y = Math.floor(box.top + box.height / 2);
    if (hits(element, x, y)) return {x, y, box};
    let best = null;
    for (let at = Math.ceil(box.left); at < box.left + box.width; at += 1) {
      for (let down = Math.ceil(box.top); down < box.top + box.height; down += 1) {
        const distance = Math.hypot(at - x, down - y);
        if ((best === null || distance < best.distance) && hits(element, at, down)) best = {x: at, y: down, distance};
      }
    }
    return best === null ? null : {x: best.x, y: best.y, box: null};
  };
  const point = (x, y) => ({x: Math.round(x), y: Math.round(y), box: null});
  // The same place, whatever element is there.
  const bare = ({x, y}) => point(x, y);

  // What has to be scrolled, and how far, before the element can be seen.
  const bring = (element) => {
    const target = element.getBoundingClientRect();
    for (let over = element.parentElement; over && over !== document.documentElement; over = over.parentElement) {
      const {overflowY} = getComputedStyle(over);
      if (over === document.body || overflowY === 'visible' || over.scrollHeight <= over.clientHeight) continue;
      const area = over.getBoundingClientRect();
      const down = Math.round(target.top + target.height / 2 - (area.top + area.height / 2));
      const at = point(area.left + area.width / 2, Math.min(area.top + area.height / 2, innerHeight - 5));
      if (Math.abs(down) > 1) return {do: 'scroll', at: {...at, box: seenOf(over)}, down};
    }
    const down = Math.round(target.top + target.height / 2 - innerHeight / 2);
    return {do: 'scroll', at: {...point(80, Math.max(5, 10 - scrollY)), box: seenOf(one('#query'))}, down};
  };

  const aimed = (element, make) => {
    const at = place(element);
    return at === null ? bring(element) : make(at);
  };
  const click = (what, options = {}) => {
    const element = one(what);
    return element ? aimed(element, (at) => ({do: 'click', at, ...options})) : null;
  };
  const hover = (what) => {
    const element = one(what);
    return element ? aimed(element, (at) => ({do: 'move', at})) : null;
  };
  // Types what is not in a field yet.
  const fill = (what, wanted) => {
    const field = one(what);
    if (field.value === wanted) return null;
    return aimed(field, (at) => ({do: 'type', text: wanted, at, clear: field.value !== ''}));
  };
  const check = (what, wanted = true) => (one(what).checked === wanted ? null : click(what));
  const choose = (what, option) => {
    const list = one(what);
    if (list.selectedIndex >= 0 && list.options[list.selectedIndex].text === option) return null;
    const index = [...list.options].findIndex((each) => each.text === option);
    return aimed(list, (at) => ({do: 'choose', option, of: at, steps: index - list.selectedIndex}));
  };
  // Through places; or, for whoever knows elements alone, from one onto another.
  const drag = (path, from = null, onto = null) => {
    return {do: 'drag', path, ...(from && onto ? {between: [from, onto].map((element) => ({box: seenOf(element)}))} : {})};
  };
  const down = (at) => ({do: 'down', at});
  const up = (at) => ({do: 'up', at});
  const press = (...keys) => ({do: 'press', keys});
  const wait = (seconds) => ({do: 'wait', seconds: Math.max(0.05, Math.round(seconds * 100) / 100)});
  const first = (...steps) => {
    for (const step of steps) {
      const action = typeof step === 'function' ? step() : step;
      if (action) return action;
    }
    return null;
  };
  const each = (items, step) => first(...items.map((item) => () => step(item)));

  window.agentenvOracle = {
    words: {
      all, one, text, withText, shown, instruction, bold, match, hits, place, point, bare, bring, click, hover, fill,
      check, choose, drag, down, up, press, wait, first, each,
      // What an oracle wants to remember until the end of the episode.
      memory: () => memory,
      clicked: () => clicked,
      pointer: () => pointer,
    },
    tell: (names, oracle) => { for (const name of names.split(' ')) oracles[name] = oracle; },
    known: () => Object.keys(oracles).sort(),
    begin: () => {
      if (memory.observer) memory.observer.disconnect();
      memory = {};
      clicked = [];
      pointer = null;
    },
    // The next action for the task of this name.
    next: (name) => {
      try {
        return {action: oracles[name] && !WOB_DONE_GLOBAL ? oracles[name]() : null};
      } catch (error) {
        return {action: null, problem: String(error.stack || error)};
      }
    },
  };
})();
