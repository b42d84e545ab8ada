// What a page is seen to consist of. Elements get numbers in the order of reading. Told of are those that can be acted
// upon, those that mean something, and texts; what is not rendered is left out, boxes around others are flattened.
(() => {
  const {isVisible, isShown, rectsOf, screen, inside, framed, largest, active} = agentenvEyes;
  const {squeezed, isHtml, isNamedByContent, roleOf, nameOf, valueOf, statesOf, attributesOf} = agentenvEyes;

  const MOST = 5000; // nodes that are told of
  const SKIPPED = new Set(['SCRIPT', 'STYLE', 'HEAD', 'TEMPLATE', 'NOSCRIPT', 'META', 'LINK', 'BASE', 'PARAM', 'SOURCE', 'TRACK']);
  const ACTED_UPON = 'a, button, input, select, textarea, iframe, [role], [tabindex], [onclick]';

  let known = []; // by number, what was seen last
  let found, focus, focused;

  const add = (node, depth, role, name, value, states, frame, attributes) => {
    const box = largest(rectsOf(node), frame);
    known.push(node);
    found.push([depth, role, name, value, states, box && box.map((one) => Math.round(one * 10) / 10), attributes]);
  };

  const text = (node, depth, frame, style) => {
    const said = squeezed(node.data);
    if (!said || !rectsOf(node).length) return;
    add(node, depth, 'text', said, null, [], frame, attributesOf(node.parentElement || node.parentNode.host, style));
  };

  const option = (element, depth, frame) => {
    if (element.hidden) return;
    add(element, depth, roleOf(element), nameOf(element, false), null, statesOf(element), frame, attributesOf(element, null));
    if (element.tagName === 'OPTGROUP') for (const child of element.children) option(child, depth + 1, frame);
  };

  const childrenOf = (element) => {
    if (element.shadowRoot) return element.shadowRoot.childNodes;
    if (element.tagName === 'DETAILS' && !element.open) return element.querySelectorAll(':scope > summary');
    const assigned = element.tagName === 'SLOT' ? element.assignedNodes() : [];
    return assigned.length ? assigned : element.childNodes;
  };
  // `quiet` where texts were told of already. `style` of the element, if its texts are to be told with its colour.
  const children = (element, depth, frame, quiet, style = null) => {
    for (const child of childrenOf(element)) {
      if (known.length >= MOST) return;
      if (child.nodeType === Node.ELEMENT_NODE) visit(child, depth, frame, quiet);
      else if (child.nodeType === Node.TEXT_NODE && !quiet) text(child, depth, frame, style);
    }
  };

  // What has no box, or hides it (display: contents, visibility: hidden), may have contents that are shown.
  const hidden = (element, depth, frame, quiet) => {
    const {display} = getComputedStyle(element);
    if (display === 'contents') children(element, depth, frame, quiet);
    else if (display !== 'none') for (const child of element.children) visit(child, depth, frame, quiet);
  };

  // Whether somebody may act upon an element that means nothing by itself.
  const isActedUpon = (element, style) => {
    if (element.tagName === 'LABEL' && element.control && !isShown(element.control)) return true;
    if (element.tabIndex >= 0 || element.hasAttribute('onclick')) return true;
    const around = element.parentElement;
    return style.cursor === 'pointer' && !(around && getComputedStyle(around).cursor === 'pointer');
  };
  const holdsMore = (element) => [...element.querySelectorAll(ACTED_UPON)].some(isShown);

  // Whether an element without contents can be seen, or is something that scripts may listen to.
  const isSeen = (element, style, rect) => {
    if (rect.width < 2 || rect.height < 2) return false;
    if (element.hasAttribute('id') || element.hasAttribute('class')) return true;
    return style.backgroundColor !== 'rgba(0, 0, 0, 0)' || style.backgroundImage !== 'none' || style.borderTopWidth !== '0px';
  };

  const visit = (element, depth, frame, quiet) => {
    const tag = element.tagName;
    if (SKIPPED.has(tag)) return;
    if (tag === 'OPTION' || tag === 'OPTGROUP') { option(element, depth, frame); return; }
    if (!isVisible(element)) { hidden(element, depth, frame, quiet); return; }
    const style = getComputedStyle(element), rect = element.getBoundingClientRect();
    const role = roleOf(element);
    const within = inside(element, style, rect, frame);
    const leaf = !element.childElementCount && !element.shadowRoot;
    const blank = leaf && !squeezed(element.textContent);
    const acted = role === null && isActedUpon(element, style);
    if (role === null && !acted && !(blank && !quiet && isSeen(element, style, rect))) {
      if (style.contentVisibility === 'hidden') return;
      // A field is called by its label, which need not be told of again.
      children(element, depth, within, quiet || (tag === 'LABEL' && element.control !== null), leaf ? style : null);
      return;
    }
    const named = isNamedByContent(role) || (acted && !holdsMore(element));
    const name = nameOf(element, named), value = valueOf(element, role);
    const states = statesOf(element);
    if (element === focused) { states.push('focused'); focus = known.length; }
    const field = tag === 'INPUT' || tag === 'TEXTAREA';
    const attributes = attributesOf(element, (blank && !field) || !isHtml(element) ? style : null);
    add(element, depth, role || 'generic', name, value, states.sort(), frame, attributes);
    if (tag === 'IFRAME' || tag === 'FRAME') {
      const {body} = element.contentDocument || {};
      if (body) visit(body, depth + 1, framed(element, style, rect, frame), false);
    } else if (!field) {
      children(element, depth + 1, within, quiet || (named && name !== '') || (value !== null && element.isContentEditable));
    }
  };

  const see = () => {
    [known, found, focus, focused] = [[], [], null, active()];
    const whole = document.body || document.documentElement;
    if (whole) visit(whole, 0, screen(), false);
    return {nodes: found, focus};
  };

  Object.assign(agentenvEyes, {see, nodeOf: (number) => known[number - 1]});
})();
