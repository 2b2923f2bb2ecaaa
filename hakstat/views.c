#include "views.h"

#define POINTER_(name) &view_##name,
const struct view *const views[VIEWS_AND_TABLES] = {VIEW_LIST(POINTER_) TABLE_LIST(POINTER_)};
