// The page's own clock: it stands still until it is told to run, so that nobody's thinking costs the page time.
//
// Put into a document before its own scripts, it stands in for Date, performance.now, timers and animation frames.
// Timers know what set them going: `act` runs an action's consequences to their end without waiting for what the page
// does by itself for ever.
(() => {
  const FRAME = 16; // milliseconds between animation frames
  const FIRST_ID = 1e6; // far from every number that a page has another use for
  const RealDate = Date;
  const report = window.reportError.bind(window);
  const timers = new Map();
  let now = 0; // milliseconds since the document began; never goes back
  let shown = 0; // the Unix time at which `now` was 0, in milliseconds
  let lastId = FIRST_ID;
  let actions = 0;
  let cause = 0; // which action is to blame for what happens at this moment; 0 is the page itself

  const add = (kind, callback, due, period, args) => {
    lastId += 1;
    timers.set(lastId, {kind, callback, due, period, args, cause});
    return lastId;
  };
  const remove = (id) => { timers.delete(id); };
  const milliseconds = (delay) => Math.max(1, Math.floor(Number(delay)) || 0);
  const nextFrame = () => (Math.floor(now / FRAME) + 1) * FRAME;

  window.setTimeout = (callback, delay, ...args) => add('timeout', callback, now + milliseconds(delay), null, args);
  window.setInterval = (callback, delay, ...args) =>
    add('interval', callback, now + milliseconds(delay), milliseconds(delay), args);
  window.requestAnimationFrame = (callback) => add('frame', callback, nextFrame(), null, []);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame = remove;
  performance.now = () => now;

  const wall = () => shown + now;
  function PageDate(...args) {
    if (!new.target) return new RealDate(wall()).toString();
    return Reflect.construct(RealDate, args.length ? args : [wall()], new.target);
  }
  Object.setPrototypeOf(PageDate, RealDate);
  PageDate.prototype = RealDate.prototype;
  PageDate.prototype.constructor = PageDate;
  PageDate.now = wall;
  window.Date = PageDate;

  const first = (wanted, until) => {
    let found = null;
    for (const [id, timer] of timers) {
      if (timer.due <= until && wanted(timer) && (found === null || timer.due < found[1].due)) found = [id, timer];
    }
    return found;
  };
  const fire = (id, timer) => {
    now = Math.max(now, timer.due);
    if (timer.period === null) timers.delete(id);
    else timer.due = now + timer.period;
    const before = cause;
    cause = timer.cause;
    try {
      if (typeof timer.callback === 'function') timer.callback(...(timer.kind === 'frame' ? [now] : timer.args));
      else window.eval(String(timer.callback));
    } catch (error) {
      report(error);
    } finally {
      cause = before;
    }
  };
  // Between two timers promises and observers have their turn, as they have in any page.
  const run = async (duration, stop) => {
    const end = now + duration;
    for (let due = first(() => true, end); due !== null && !stop(); due = first(() => true, end)) {
      fire(...due);
      await null;
    }
    if (!stop()) now = end;
  };

  window.agentenvClock = {
    // Whatever begins from here on is the page's own doing, until the next action's turn comes.
    own: () => { cause = 0; },
    next: () => { actions += 1; cause = actions; },
    // Runs for `pace`, and then on for as long as something that the action has set going is due in the next `patience`;
    // at most for `longest`. Milliseconds all. Stops where `stop` says so. What comes next is the next action's doing.
    act: async ({pace, patience, longest, stop}) => {
      const mine = cause, start = now;
      await run(pace, stop);
      const due = () => first((timer) => timer.cause === mine, now + patience);
      for (let next = due(); next !== null && !stop(); next = due()) {
        if (next[1].due - start > longest) break;
        await run(next[1].due - now, stop);
      }
      window.agentenvClock.next();
    },
    run: (duration) => run(duration, () => false),
    now: () => now,
    // Makes it this time of day, in milliseconds of Unix. What is due stays as far away as it was.
    set: (unix) => { shown = unix - now; },
    // Repeated things and frames go on as if they had begun at this moment.
    rephase: () => {
      now = nextFrame();
      for (const timer of timers.values()) timer.due = timer.period === null ? Math.max(timer.due, now) : now + timer.period;
    },
    // What timer a number stands for, if one does that is still going to happen.
    named: (id) => (timers.has(id) ? `${timers.get(id).kind} in ${timers.get(id).due - now}` : null),
    // What is going to happen: by id, how, in how many milliseconds, how often, and what.
    pending: () => [...timers].map(([id, {kind, callback, due, period}]) => [id, kind, due - now, period, String(callback)]),
  };
})();
