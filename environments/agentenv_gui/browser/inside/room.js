// What makes of a page something that can be seen and acted upon as a whole, with a clipboard of its own.
(() => {
  // The clipboard is the browser's, and all pages would share it: what is copied here is kept here.
  let copied = null; // since it was asked for last
  const selected = (target) => {
    const {value, selectionStart, selectionEnd} = target;
    if (typeof value === 'string' && selectionStart !== selectionEnd) return value.slice(selectionStart, selectionEnd);
    return String(document.getSelection());
  };
  const note = (event) => {
    copied = event.defaultPrevented ? event.clipboardData.getData('text/plain') : selected(event.composedPath()[0]);
  };
  for (const event of ['copy', 'cut']) {
    // Added as late as can be, to be called after all others.
    window.addEventListener(event, () => window.addEventListener(event, note, {once: true}), true);
  }
  const takeCopied = () => {
    const text = copied;
    copied = null;
    return text;
  };
  // Puts a text into the browser's clipboard, unnoticed by the page.
  const put = (text) => {
    const write = (event) => {
      event.stopImmediatePropagation();
      event.preventDefault();
      event.clipboardData.setData('text/plain', text);
    };
    window.addEventListener('copy', write, {capture: true, once: true});
    document.execCommand('copy');
    window.removeEventListener('copy', write, {capture: true});
  };

  // A list that drops down does so in the page, where it can be seen and clicked at. What would open in a window of its
  // own (calendars, colours) does not open.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    select:not([multiple]):is(:not([size]), [size="1"]), ::picker(select) { appearance: base-select !important; }
    ::-webkit-calendar-picker-indicator { display: none !important; }
  `);
  const dress = () => {
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
  };
  dress();
  window.addEventListener('click', (event) => {
    if (event.composedPath()[0].type === 'color') event.preventDefault();
  }, true);

  // What `Hands.flush` sends is no key, and nobody's business.
  window.addEventListener('keypress', (event) => {
    if (!event.isTrusted || event.key !== '' || event.charCode !== 0) return;
    event.stopImmediatePropagation();
    event.preventDefault();
  }, true);

  // All that there is to know of a page at once, as JSON: reading it so is faster than as an object.
  const look = (tree) => {
    dress();
    return JSON.stringify({...(tree ? agentenvEyes.see() : {}), title: document.title, address: document.URL});
  };

  Object.assign(agentenvEyes, {takeCopied, put, look});
})();
