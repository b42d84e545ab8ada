// What is done to elements by their numbers. One that is `unknown` was not seen, one that is `gone` is not in the page any
// more, one that is `hidden` has no place.
(() => {
  const {squeezed, rectsOf, largest, frameOf, active, nodeOf} = agentenvEyes;

  const missing = (node) => (node ? (node.isConnected ? null : {problem: 'gone'}) : {problem: 'unknown'});

  // Where to aim at something, which is brought into view for that.
  const where = (number) => {
    const node = nodeOf(number);
    if (missing(node)) return missing(node);
    (node.nodeType === Node.TEXT_NODE ? node.parentElement || node.parentNode.host : node).scrollIntoViewIfNeeded(true);
    const box = largest(rectsOf(node), frameOf(node.ownerDocument.defaultView));
    return box ? {x: box[0] + box[2] / 2, y: box[1] + box[3] / 2} : {problem: 'hidden'};
  };

  const optionOf = (select, text) => {
    const called = (fold) => [...select.options].find(
      (one) => [one.label, one.textContent].some((name) => fold(squeezed(name)) === fold(squeezed(text))));
    return called((name) => name) || called((name) => name.toLowerCase());
  };
  const choose = (number, text) => {
    const select = nodeOf(number);
    if (missing(select)) return missing(select);
    if (select.tagName !== 'SELECT') return {problem: 'kind'};
    const option = optionOf(select, text);
    if (!option) return {problem: 'option', options: [...select.options].map((one) => squeezed(one.label))};
    if (select.matches(':disabled') || option.disabled || option.parentElement.disabled) return {problem: 'disabled'};
    select.focus();
    if (!option.selected) {
      option.selected = true;
      select.dispatchEvent(new Event('input', {bubbles: true, composed: true}));
      select.dispatchEvent(new Event('change', {bubbles: true}));
    }
    return {};
  };

  // The contents of the field that has the keyboard are marked, to be replaced. Whether there is such a field.
  const mark = () => {
    const field = active();
    if (field && field.isContentEditable) field.ownerDocument.getSelection().selectAllChildren(field);
    else if (field && field.select) field.select();
    else return false;
    return true;
  };

  // Where in the document the corner of the screen is.
  const corner = () => [visualViewport.pageLeft, visualViewport.pageTop];

  Object.assign(agentenvEyes, {where, choose, mark, corner});
})();
