#!/bin/bash
set -e
declare -A piece
for file in pieces/*.b64; do
  digest=$(base64 -d "$file" | sha256sum | cut -d' ' -f1)
  piece[$digest]=$file
done
while read -r digest; do
  base64 -d "${piece[$digest]}"
done <manifest.txt >recovered.txt
wc recovered.txt
