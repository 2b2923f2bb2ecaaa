#include "views.h"

#define POINTER_(name) &view_##name,
const struct view *const views[VIEWS] = {VIEW_LIST(POINTER_)};
