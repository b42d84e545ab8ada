// Forms: lists, dates, sliders, spinners, colours, and several of them in a row.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, instruction, bold, match, click, fill, check, choose, press, first, each, place, withText} = words;
  const submit = () => click('#subbtn');

  tell('choose-list', () => first(
    () => choose('#options', match(/Select (.*) from the list/)[0]),
    () => click('#area button'),
  ));
  tell('click-scroll-list', () => {
    const wanted = match(/Select (.*) from the scroll list/)[0];
    const chosen = all('#options option').filter((option) => (`, ${wanted}, `).includes(`, ${option.text}, `));
    const others = all('#options option').filter((option) => option.selected && !chosen.includes(option));
    const missing = chosen.filter((option) => !option.selected);
    if (!others.length && !missing.length) return click('#area button');
    const held = chosen.length - missing.length ? {holding: ['Control']} : {};
    return click(missing[0] || others[0], others.length && missing.length ? {} : held);
  });

  // The calendar that drops down: month by month, then the day.
  const picked = (field, date) => {
    if (one(field).value === date) return null;
    if (!all('#ui-datepicker-div').some(words.shown)) return click(field);
    const [month, day, year] = date.split('/').map(Number);
    const names = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October',
      'November', 'December'];
    const at = Number(text(one('.ui-datepicker-year'))) * 12 + names.indexOf(text(one('.ui-datepicker-month')));
    const wanted = year * 12 + month - 1;
    if (at !== wanted) return click(at > wanted ? '.ui-datepicker-prev' : '.ui-datepicker-next');
    return click(withText('.ui-datepicker-calendar td:not(.ui-datepicker-other-month) a', String(day)));
  };
  tell('choose-date choose-date-easy choose-date-medium choose-date-nodelay', () =>
    first(() => picked('#datepicker', match(/Select (\S+) as/)[0]), submit));
  // A field in parts, of which the keyboard reaches the first one first.
  const inParts = (text) => (document.activeElement === one('#tt') ? {do: 'type', text} : press('Tab'));
  tell('enter-date', () => {
    const [month, day, year] = bold()[0].split('/');
    return one('#tt').value === `${year}-${month}-${day}` ? submit() : inParts(`${month}${day}${year}`);
  });
  tell('enter-time', () => {
    const [hour, minute, half] = match(/Enter (\d+):(\d+) (AM|PM)/);
    const wanted = `${String((hour % 12) + (half === 'PM' ? 12 : 0)).padStart(2, '0')}:${minute}`;
    return one('#tt').value === wanted ? submit() : inParts(`${hour.padStart(2, '0')}${minute}${half}`);
  });

  const listed = () => click(all('.ui-autocomplete li').find(words.shown));
  tell('book-flight book-flight-nodelay', () => {
    const [how, origin, destination, date] = bold();
    const full = (named) => DOMESTIC_FLIGHTS.find((each) => each.includes(named));
    if (!one('#results').classList.contains('hide')) {
      const measure = how === 'cheapest'
        ? (flight) => Number(flight.querySelector('.flight-price').getAttribute('data-price'))
        : (flight) => Number(flight.querySelector('.time-duration').getAttribute('data-duration'));
      const best = all('.flight').reduce((found, flight) => (measure(flight) < measure(found) ? flight : found));
      return click(best.querySelector('.flight-price'));
    }
    return first(
      () => fill('#flight-from', full(origin)),
      listed,
      () => fill('#flight-to', full(destination)),
      listed,
      () => picked('#datepicker', date),
      () => click('#search'),
    );
  });
  tell('buy-ticket', () => {
    const asked = bold()[0];
    const measure = /cost/.test(asked)
      ? (flight) => Number(flight.querySelector('.buy-ticket').getAttribute('data-price'))
      : (flight) => Number(flight.querySelector('.time-duration').getAttribute('data-duration'));
    const least = /cheapest|shortest/.test(asked);
    const better = (a, b) => (least ? measure(a) < measure(b) : measure(a) > measure(b));
    return click(all('.flight').reduce((found, flight) => (better(flight, found) ? flight : found)).querySelector('.buy-ticket'));
  });

  // A slider is moved by the keyboard: by a fifth of its range, and one by one.
  const slid = (slider, wanted) => {
    const value = jQuery(slider).slider('value');
    if (value === wanted) return null;
    const handle = slider.querySelector('.ui-slider-handle');
    if (document.activeElement !== handle) return click(handle);
    const page = (jQuery(slider).slider('option', 'max') - jQuery(slider).slider('option', 'min')) / 5;
    if (Math.abs(wanted - value) > page / 2 && page > 1) return press(value < wanted ? 'PageUp' : 'PageDown');
    return press(value < wanted ? 'ArrowRight' : 'ArrowLeft');
  };
  tell('use-slider', () => first(() => slid(one('#slider'), Number(match(/Select (-?\d+)/)[0])), submit));
  tell('use-slider-2', () => {
    const wanted = JSON.parse(match(/combination (\[.*\])/)[0]);
    return first(() => each([0, 1, 2], (index) => slid(one(`#slider-${index + 1}`), wanted[index])), submit);
  });
  tell('use-spinner', () => {
    const wanted = Number(match(/Select (-?\d+)/)[0]), value = Number(one('#spinner').value);
    return value === wanted ? submit() : click(value < wanted ? '.ui-spinner-up' : '.ui-spinner-down');
  });
  tell('form-sequence', () => {
    const [number, position] = match(/Select (-?\d+) with the slider, click the (\d)/);
    return first(() => slid(one('#slider'), Number(number)), () => check(`#checkbox-${position}`), submit);
  });
  tell('form-sequence-2', () => {
    const [radio, number, box] = match(/the (\d)\w+ radio button and enter the number "(-?\d+)" into the (\d)/);
    return first(() => check(all('#area input[type=radio]')[radio - 1]), () => fill(`#input-${box}`, number), submit);
  });
  tell('form-sequence-3', () => {
    const [option, button] = match(/Choose (.*) from the dropdown, then click the button labeled "(.*)"/);
    if (one('#dropdown').value === option) return click(withText('#buttons button', button));
    if (!one('.selectric-open')) return click('.selectric');
    return click(withText('.selectric-items li', option));
  });

  // The colour's number is typed over what stands in the field.
  const colored = (hex) => {
    // The picker lies over the button until another place is clicked on.
    if (one('#col').value.toLowerCase() === hex) return place(one('#subbtn')) ? submit() : click('#query');
    return fill('#col', hex.toUpperCase());
  };
  tell('use-colorwheel', () => colored(ui_utils.colorNameToHex(match(/Select (\w+) with/)[0]).slice(1)));
  tell('use-colorwheel-2', () => {
    const parts = getComputedStyle(one('#query .cc')).backgroundColor.match(/\d+/g).map(Number);
    return colored(parts.map((part) => part.toString(16).padStart(2, '0')).join(''));
  });
})();
