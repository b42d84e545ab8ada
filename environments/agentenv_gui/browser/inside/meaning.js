// What an element is, what it is called, what stands in it, and how it is.
(() => {
  const LONGEST = 4000; // characters of a name or a value

  const ROLES = {
    A: 'link', AREA: 'link', ARTICLE: 'article', ASIDE: 'complementary', AUDIO: 'audio', BUTTON: 'button', CANVAS: 'canvas',
    DIALOG: 'dialog', FIELDSET: 'group', FORM: 'form', FRAME: 'iframe', H1: 'heading', H2: 'heading', H3: 'heading',
    H4: 'heading', H5: 'heading', H6: 'heading', HR: 'separator', IFRAME: 'iframe', IMG: 'img', LI: 'listitem', MAIN: 'main',
    MENU: 'list', METER: 'meter', NAV: 'navigation', OL: 'list', OPTGROUP: 'group', OPTION: 'option', OUTPUT: 'status',
    PROGRESS: 'progressbar', SUMMARY: 'button', TABLE: 'table', TD: 'cell', TEXTAREA: 'textbox', TH: 'columnheader',
    TR: 'row', UL: 'list', VIDEO: 'video',
    // Shapes of SVG.
    circle: 'img', ellipse: 'img', image: 'img', line: 'img', path: 'img', polygon: 'img', polyline: 'img', rect: 'img',
  };
  const INPUTS = {
    button: 'button', checkbox: 'checkbox', color: 'textbox', file: 'button', image: 'button', number: 'spinbutton',
    radio: 'radio', range: 'slider', reset: 'button', search: 'searchbox', submit: 'button',
  };
  const BUTTONS = {button: '', reset: 'Reset', submit: 'Submit'}; // what they are called unless they say
  const TYPED_INTO = new Set(['textbox', 'searchbox', 'combobox', 'spinbutton', 'slider']);
  // Called by what is in them, which is then not told of again.
  const NAMED_BY_CONTENT = new Set(['button', 'link', 'option', 'heading', 'tab', 'menuitem', 'menuitemcheckbox',
    'menuitemradio', 'treeitem', 'switch', 'checkbox', 'radio', 'tooltip']);
  const UNSEEN = new Set(['rgba(0, 0, 0, 0)', 'none', '']); // colours

  const squeezed = (text) => (text || '').replace(/\s+/g, ' ').trim().slice(0, LONGEST);
  const isNamedByContent = (role) => NAMED_BY_CONTENT.has(role);
  const isHtml = (element) => element.namespaceURI === 'http://www.w3.org/1999/xhtml';

  const roleOf = (element) => {
    const given = element.getAttribute('role');
    if (given && given.trim()) return given.trim().split(/\s+/)[0].toLowerCase();
    const tag = element.tagName;
    if (tag === 'INPUT') return element.list && !(element.type in INPUTS) ? 'combobox' : INPUTS[element.type] || 'textbox';
    if (tag === 'SELECT') return element.multiple || element.size > 1 ? 'listbox' : 'combobox';
    if (tag === 'A' && !element.hasAttribute('href')) return null;
    if (element.isContentEditable && !(element.parentElement && element.parentElement.isContentEditable)) return 'textbox';
    return ROLES[tag] || null;
  };

  // The text of a label, but for that of the field which lies in it.
  const labelText = (label, field) => {
    if (!label.contains(field)) return label.textContent;
    const copy = label.cloneNode(true);
    for (const inner of copy.querySelectorAll('select, textarea, button')) inner.remove();
    return copy.textContent;
  };
  const labelled = (element) => {
    const root = element.getRootNode(), by = element.getAttribute('aria-labelledby');
    const named = by && root.getElementById ? by.trim().split(/\s+/).map((id) => root.getElementById(id)) : [];
    const said = squeezed(named.filter(Boolean).map((one) => one.textContent).join(' '));
    return said || squeezed(element.getAttribute('aria-label') || element.getAttribute('alt'));
  };
  const content = (element) => {
    const said = squeezed(element.innerText === undefined ? element.textContent : element.innerText);
    const picture = said ? null : element.querySelector('img[alt], [aria-label], title');
    return picture ? squeezed(picture.getAttribute('alt') || picture.getAttribute('aria-label') || picture.textContent) : said;
  };

  const nameOf = (element, byContent) => {
    const tag = element.tagName;
    const said = labelled(element);
    if (said) return said;
    if (tag === 'INPUT' && element.type in BUTTONS) return squeezed(element.value) || BUTTONS[element.type];
    if (element.labels && element.labels.length) {
      return squeezed([...element.labels].map((label) => labelText(label, element)).join(' '));
    }
    const caption = {TABLE: 'caption', FIELDSET: 'legend'}[tag];
    const captioned = caption ? element.querySelector(caption) : null;
    const inside = byContent ? content(element) : captioned ? squeezed(captioned.textContent) : '';
    if (inside) return inside;
    if (tag === 'OPTION' || tag === 'OPTGROUP') return squeezed(element.label);
    return squeezed(element.getAttribute('title') || element.getAttribute('placeholder'));
  };

  const valueOf = (element, role) => {
    const tag = element.tagName;
    if (tag === 'SELECT') return [...element.selectedOptions].map((option) => squeezed(option.label)).join(', ');
    if (tag === 'PROGRESS' || tag === 'METER') return String(element.value);
    if (!TYPED_INTO.has(role)) return element.getAttribute('aria-valuetext') || element.getAttribute('aria-valuenow');
    if (tag === 'INPUT' && element.type === 'password') return '•'.repeat(element.value.length);
    if (tag === 'INPUT' || tag === 'TEXTAREA') return element.value.slice(0, LONGEST);
    if (element.isContentEditable) return element.innerText.slice(0, LONGEST);
    return element.getAttribute('aria-valuetext') || element.getAttribute('aria-valuenow');
  };

  const opened = (element, how) =>
    element.getAttribute('aria-expanded') === String(how) || (element.tagName === 'SUMMARY' && element.parentElement.open === how);
  const STATES = [
    ['checked', (e) => e.checked === true || e.getAttribute('aria-checked') === 'true'],
    ['collapsed', (e) => opened(e, false)],
    ['disabled', (e) => e.matches(':disabled') || e.getAttribute('aria-disabled') === 'true'],
    ['expanded', (e) => opened(e, true)],
    ['mixed', (e) => e.indeterminate === true || e.getAttribute('aria-checked') === 'mixed'],
    ['pressed', (e) => e.getAttribute('aria-pressed') === 'true'],
    ['readonly', (e) => e.readOnly === true],
    ['required', (e) => e.required === true],
    ['selected', (e) => (e.tagName === 'OPTION' && e.selected) || e.getAttribute('aria-selected') === 'true'],
  ];
  const statesOf = (element) => STATES.filter(([, holds]) => holds(element)).map(([state]) => state);

  // `style`, if its colour is to be told.
  const attributesOf = (element, style) => {
    const told = [['tag', element.tagName.toLowerCase()]];
    const add = (name, text) => { if (text) told.push([name, squeezed(text)]); };
    add('id', element.getAttribute('id'));
    add('class', element.getAttribute('class'));
    add('hint', element.getAttribute('placeholder') || element.getAttribute('title'));
    if (/^H[1-6]$/.test(element.tagName)) add('level', element.tagName[1]);
    const fill = style ? (isHtml(element) ? style.backgroundColor : style.fill) : '';
    if (!UNSEEN.has(fill)) add('fill', fill);
    return told;
  };

  Object.assign(agentenvEyes, {squeezed, isHtml, isNamedByContent, roleOf, nameOf, valueOf, statesOf, attributesOf});
})();
