// Texts and numbers to be read, worked out, and typed.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, instruction, bold, match, click, fill, first, place, point, drag, memory, press, withText} = words;

  const typed = (field, wanted) => first(() => fill(field, wanted), () => click('#subbtn'));
  tell('enter-text enter-text-dynamic', () => typed('#tt', bold()[0]));
  tell('enter-text-2', () => typed('#tt', /upper case/.test(instruction()) ? bold()[0].toUpperCase() : bold()[0].toLowerCase()));
  tell('enter-password', () => first(() => fill('#password', bold()[0]), () => typed('#verify', bold()[0])));
  tell('login-user login-user-popup', () => {
    const [user, password] = match(/username "(.*)" and the password "(.*)" into/);
    return first(
      () => click('#popup-cancel'),
      () => fill('#username', user),
      () => typed('#password', password),
    );
  });
  tell('text-transform', () => typed('#tt', text(one('#captcha'))));
  tell('copy-paste', () => typed('#answer-input', one('#to-copy').value));
  tell('copy-paste-2', () => typed('#answer-input', one(`#text-${parseInt(bold()[0], 10)}`).value));
  tell('find-word', () => {
    const position = parseInt(bold()[0], 10);
    return typed('#answer-input', one('#area p').textContent.split(' ')[position - 1].replace(/[^a-zA-Z]+/g, ''));
  });
  tell('read-table', () => {
    const row = all('#tab tr').find((each) => each.children[0].textContent === bold()[0]);
    return typed('#tt', row.children[1].textContent);
  });
  tell('read-table-2', () => {
    const asked = (label) => {
      const key = text(one(label)).replace(/:$/, '');
      return all('#tab tr').find((row) => row.children[0].textContent === key).children[1].textContent;
    };
    return first(() => fill('#tt1', asked('#ll1')), () => typed('#tt2', asked('#ll2')));
  });

  tell('simple-arithmetic', () => {
    const [, left, sign, right] = text(one('#math-problem')).match(/(\d+) (\S) (\d+)/);
    const found = {'+': Number(left) + Number(right), '-': left - right, 'x': left * right}[sign];
    return typed('#math-answer', String(found));
  });
  tell('simple-algebra', () => {
    const [, left, sign, right, result] = text(one('#math-problem')).match(/(\S+) (\S) (\S+) = (\d+)/);
    const known = Number(left === 'x' ? right : left);
    const found = sign === '+' ? result - known : left === 'x' ? Number(result) + known : known - result;
    return typed('#math-answer', String(found));
  });
  tell('visual-addition', () => typed('#math-answer', String(all('#math-problem .addition-block').length)));
  tell('guess-number', () => {
    // The middle of what is left; what was said of the last guess is in the page.
    const range = memory().range || (memory().range = [0, 9]);
    const said = all('#feedback div:not(.hide)')[0];
    const last = Number((text(said).match(/than (\d+)/) || [])[1]);
    if (said.id === 'higher') range[0] = Math.max(range[0], last + 1);
    if (said.id === 'lower') range[1] = Math.min(range[1], last - 1);
    return typed('#tt', String(Math.floor((range[0] + range[1]) / 2)));
  });

  // What drops down below a field lies over the rest: the one item that it still has is taken.
  const listed = () => click(all('.ui-autocomplete li').find(words.shown));
  tell('use-autocomplete use-autocomplete-nodelay', () => {
    const [start, end = ''] = bold();
    const wanted = ui_utils.COUNTRIES.find((name) => name.startsWith(start) && name.endsWith(end));
    return first(() => fill('#tags', wanted), listed, () => click('#subbtn'));
  });
  tell('multi-layouts multi-orderings', () => {
    const [genre, name, year] = all('#query b').map((element) => element.textContent);
    const field = (label) => {
      const found = all('#area span, #area div, #area th').find((element) => !element.children.length && label.test(text(element)));
      return found.closest('p, .row, tr, .field, .ui-entry').querySelector('input');
    };
    return first(
      () => fill(field(/Genre/), genre),
      () => fill(field(/Director/), name),
      () => fill(field(/Year|Date/), year),
      () => click('#area button, #area .final, #area .ui-submit'),
    );
  });

  tell('search-engine', () => {
    const [wanted, position] = bold();
    const index = parseInt(position, 10) - 1;
    const result = one(`#page-content a[data-result="${index}"]`);
    if (one('#search-text').value !== wanted) return fill('#search-text', wanted);
    if (result) return click(result);
    const page = withText('#pagination a', String(Math.floor(index / 3) + 1));
    return page ? click(page) : click('#search');
  });
  tell('terminal', () => {
    const extension = bold()[0].startsWith('.') ? bold()[0] : '';
    if (document.activeElement !== one('#terminal-target')) return click('#terminal-contents');
    const said = all('.terminal-output').map(text);
    const names = said.find((line, index) => index > 1 && line !== '');
    if (!names) return one('#active-input').textContent === 'ls' ? press('Enter') : {do: 'type', text: 'ls'};
    const fits = (name) => (extension ? name.endsWith(extension) : !name.includes('.'));
    const command = `rm ${names.split(' ').find(fits)}`;
    return one('#active-input').textContent === command ? press('Enter') : {do: 'type', text: command};
  });

  // Texts that are marked by dragging over them.
  const marked = (block) => {
    const wanted = block.textContent.replace(/\s/g, '');
    if (getSelection().toString().replace(/\s/g, '') === wanted) return null;
    const at = place(block);
    return at === null ? words.bring(block) : {do: 'click', at, count: 3};
  };
  tell('highlight-text', () => first(() => marked(one('#randomText')), () => click('#subbtn')));
  tell('highlight-text-2', () =>
    first(() => marked(all('#randomText p')[parseInt(match(/the (\d)/)[0], 10) - 1]), () => click('#subbtn')));

  // The editor: the word is marked with the keyboard, since a double click leaves punctuation out.
  tell('text-editor', () => {
    const [what, how] = bold();
    const editing = one('#area .ql-editor');
    const whole = what === 'everything';
    const style = how.trim();
    const tags = {bold: 'strong', italics: 'em', underlined: 'u'};
    const styled = all(tags[style] || '[style*="color"]', editing).some((element) => text(element).length > 0);
    if (styled) return click('#subbtn');
    const option = all('.ql-color .ql-picker-item')
      .find((item) => (COLOR_MAP[style] || []).includes(item.getAttribute('data-value')));
    if (one('.ql-color.ql-expanded')) return click(option);
    const content = editing.textContent;
    const start = whole ? 0 : ` ${content} `.indexOf(` ${what} `);
    const length = whole ? content.length : what.length;
    const selection = editor.getSelection();
    if (!selection) return click(editing.querySelector('p'));
    if (selection.index !== start || selection.length !== length) {
      if (whole) return press('Control', 'a');
      if (selection.index === start && selection.length < length) return press('Shift', 'ArrowRight');
      return selection.length || selection.index > start ? press('Home') : press('ArrowRight');
    }
    if (tags[style]) return click(`.ql-${{bold: 'bold', italics: 'italic', underlined: 'underline'}[style]}`);
    return click('.ql-color .ql-picker-label');
  });
})();
