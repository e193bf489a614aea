#!/bin/sh
# A container engine of a few milliseconds, on Linux: run NAME | ps NAME | stop NAME | rm NAME. Its state is in $ENGINE_DIR.
file=$ENGINE_DIR/$2
case $1 in
  run)
    setsid -f sh -c 'echo $$ > "$0"; exec sleep 600' "$file" > /dev/null 2>&1
    while [ ! -s "$file" ]; do :; done
    ;;
  ps) [ -s "$file" ] && read -r pid < "$file" && [ -e "/proc/$pid/exe" ] && echo "$pid" ;;
  stop) read -r pid < "$file" && kill "$pid" && while [ -e "/proc/$pid/exe" ]; do :; done ;;
  rm) rm -f "$file" ;;
esac
exit 0
