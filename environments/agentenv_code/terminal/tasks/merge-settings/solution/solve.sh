#!/bin/bash
cat >merge.py <<'END'
import configparser
import json
from pathlib import Path


def value(text):
    if text in ("yes", "no"):
        return text == "yes"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


layers = sorted(Path("conf.d").glob("*.ini"), key=lambda path: int(path.name.split("-")[0]))
merged = {}
for layer in (Path("base.ini"), *layers):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(layer)
    for section in parser.sections():
        merged.setdefault(section, {}).update(parser[section])
result = {}
for section, keys in merged.items():
    kept = {key: value(text) for key, text in keys.items() if text != "<unset>"}
    if kept:
        result[section] = kept
Path("settings.json").write_text(json.dumps(result, indent=2) + "\n")
END
python3 merge.py && cat settings.json
