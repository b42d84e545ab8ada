#!/bin/bash
cd notes || exit
for note in *.txt; do
  year=$(sed '/^$/q' "$note" | sed -n 's/^date: \([0-9]*\)-.*/\1/p')
  mkdir -p "${year:-undated}"
  mv -- "$note" "${year:-undated}/"
done
find . -type f | sort
