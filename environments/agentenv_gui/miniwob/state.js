// What state a page is in: what can be seen of it, and everything else that decides what it will do.
(() => {
  const clock = window.agentenvClock;
  const HIDDEN = new Set(['reward-display', 'click-canvas', 'sync-task-cover']);
  const COUNTED = /^(data-tampered|data-wob_)/;
  const PROPERTIES = ['value', 'checked', 'selectedIndex', 'disabled', 'scrollTop', 'scrollLeft'];
  const DEEPEST = 7;
  const born = new Set(Object.getOwnPropertyNames(window));
  const LIBRARIES = new Set(['core', '$', 'jQuery', 'd3', 'ui_utils', 'Raphael', 'Quill', 'event']);

  const listeners = new WeakMap();
  const {addEventListener, removeEventListener} = EventTarget.prototype;
  const phase = (options) => Boolean(typeof options === 'object' && options !== null ? options.capture : options);
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    const on = this || window;
    if (!listeners.has(on)) listeners.set(on, []);
    const known = listeners.get(on);
    if (!known.some((one) => one[0] === type && one[1] === listener && one[2] === phase(options))) {
      known.push([type, listener, phase(options)]);
    }
    return addEventListener.call(on, type, listener, options);
  };
  EventTarget.prototype.removeEventListener = function (type, listener, options) {
    const on = this || window;
    const known = listeners.get(on) || [];
    listeners.set(on, known.filter((one) => !(one[0] === type && one[1] === listener && one[2] === phase(options))));
    return removeEventListener.call(on, type, listener, options);
  };

  // A string's 64-bit fingerprint, as hexadecimal digits.
  const fingerprint = (text) => {
    let high = 0xdeadbeef, low = 0x41c6ce57;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      high = Math.imul(high ^ code, 2654435761);
      low = Math.imul(low ^ code, 1597334677);
    }
    high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
    low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
    return [high, low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  };

  const own = (element) => {
    const found = {};
    for (const name of PROPERTIES) {
      const value = element[name];
      if (value !== undefined && value !== false && value !== 0 && typeof value !== 'object') found[name] = value;
    }
    if (document.activeElement === element) found.focus = true;
    if (element.selectionStart) found.selection = [element.selectionStart, element.selectionEnd];
    if (element instanceof HTMLCanvasElement) found.picture = element.toDataURL();
    return found;
  };

  // Elements with their attributes, contents and what is set in them, in the order of the document.
  const seen = (element, each) => {
    if (HIDDEN.has(element.id) || element.tagName === 'SCRIPT') return null;
    const attributes = [...element.attributes].filter(({name}) => !COUNTED.test(name)).map(({name, value}) => [name, value]);
    const inside = [];
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) inside.push(child.data);
      else if (child.nodeType === Node.ELEMENT_NODE) inside.push(seen(child, each));
    }
    return [element.tagName, attributes.sort(), own(element), inside, ...each(element)];
  };

  const place = (node) => {
    const steps = [];
    for (let at = node; at && at.parentNode; at = at.parentNode) steps.push([...at.parentNode.childNodes].indexOf(at));
    return `<${node.nodeName} ${steps.join('/')}${node.isConnected ? '' : ' loose'}>`;
  };

  // A value of a script, as far as it can be told apart from another. What was told of before is told of by its number.
  const value = (of, known, depth = 0) => {
    if (typeof of === 'number' && clock.named(of) !== null) return clock.named(of);
    if (of === null || ['undefined', 'boolean', 'number', 'string', 'bigint', 'function'].includes(typeof of)) return String(of);
    if (typeof of === 'symbol') return 'symbol';
    if (of instanceof Node) return place(of);
    if (of instanceof Date) return `date ${of.getTime()}`;
    if (of === window || depth > DEEPEST) return '…';
    if (known.has(of)) return `#${known.get(of)}`;
    known.set(of, known.size);
    const inner = (one) => value(one, known, depth + 1);
    if (Array.isArray(of) || (window.jQuery && of instanceof jQuery)) return [...of].map(inner);
    const keys = Object.keys(of).filter((key) => !/^(uuid|guid|eventNamespace|jQuery\d+|sizzle\d+)$/.test(key)).sort();
    return keys.map((key) => [key, inner(of[key])]);
  };

  const handlers = (target) => {
    const found = (listeners.get(target) || []).map(([type, listener, capture]) => [type, capture, String(listener)]);
    const events = (window.jQuery && jQuery._data && jQuery._data(target, 'events')) || {};
    for (const type of Object.keys(events).sort()) {
      for (const {namespace, selector, handler} of events[type]) {
        found.push(['jquery', type, namespace.replace(/\d+/g, ''), String(selector), String(handler)]);
      }
    }
    return found;
  };
  const data = (element) => {
    const held = (window.jQuery && jQuery.hasData(element) && jQuery(element).data()) || {};
    return value(held, new Map());
  };

  // Names of the variables of the page's scripts.
  const names = () => Object.getOwnPropertyNames(window).filter(
    (name) => !born.has(name) && !LIBRARIES.has(name) && !/^(agentenv|jQuery\d|\d+$)/.test(name));

  window.agentenvState = {
    // The fingerprint of what can be seen.
    key: () => fingerprint(JSON.stringify(seen(document.body, () => []))),
    // Everything, in parts. Draws a random number.
    everything: () => ({
      document: seen(document.body, (element) => [handlers(element), data(element)]),
      title: document.title,
      listeners: [handlers(window), handlers(document)],
      scripts: names().sort().map(((known) => (name) => [name, value(window[name], known)])(new Map())),
      timers: clock.pending().map(([, ...timer]) => JSON.stringify(timer)).sort(),
      clock: [Date.now(), core.ept0 - Date.now()],
      instruction: core.getUtterance(),
      scroll: [window.scrollX, window.scrollY],
      random: Math.random(),
    }),
    names,
    // Whether a script listens to an element or keeps something with it.
    held: (element) => handlers(element).length > 0 || Boolean(window.jQuery && jQuery.hasData(element)),
  };
})();
