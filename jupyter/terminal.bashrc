# What a terminal in this course's JupyterLab reads at its start: the learner's own settings, then this environment first on the PATH.
[ -f ~/.bashrc ] && . ~/.bashrc
export PATH="$COURSE_TASKS_PREFIX/bin:$PATH"
hash -r
